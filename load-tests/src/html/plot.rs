//! Line plots as SVG.

use std::fmt::Write as _;

use super::escaped;

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 150.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 42.0;

/// Colours that differ in brightness too; marks beside the names repeat them.
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

/// One line of a plot.
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
    /// Points alone, without a line between them.
    pub(super) dots: bool,
}

impl Line {
    pub(super) fn new(name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.into(), points, dots: false }
    }
}

/// How values lie on an axis.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Scale {
    /// From 0.
    Linear,
    Log,
    /// Quantiles: equal distances for 90 %, 99 %, 99.9 % …
    Nines,
}

/// A plot: a title, two axes with their names and scales, and lines.
pub(super) fn plot(title: &str, x: (&str, Scale), y: (&str, Scale), lines: &[Line]) -> String {
    let all = || lines.iter().flat_map(|line| &line.points).filter(|(px, py)| usable(*px, x.1) && usable(*py, y.1));
    if all().next().is_none() {
        return String::new();
    }
    let (x_axis, y_axis) = (Axis::of(x.1, all().map(|p| p.0)), Axis::of(y.1, all().map(|p| p.1)));
    let place = |(px, py): (f64, f64)| {
        (LEFT + x_axis.at(px) * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - y_axis.at(py) * (HEIGHT - TOP - BOTTOM))
    };
    let mut svg = String::new();
    // Writing to a String cannot fail, here and below.
    for (value, label) in x_axis.ticks() {
        let (at, _) = place((value, y_axis.low));
        let _ = write!(
            svg,
            "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{:.1}\" stroke=\"var(--line)\"/>",
            HEIGHT - BOTTOM
        );
        let _ = write!(
            svg,
            "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>",
            HEIGHT - BOTTOM + 16.0
        );
    }
    for (value, label) in y_axis.ticks() {
        let (_, at) = place((x_axis.low, value));
        let _ = write!(
            svg,
            "<line x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"var(--line)\"/>",
            WIDTH - RIGHT
        );
        let _ = write!(svg, "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>", LEFT - 6.0, at + 4.0);
    }
    let middle = LEFT + (WIDTH - LEFT - RIGHT) / 2.0;
    let _ =
        write!(svg, "<text x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>", HEIGHT - 6.0, escaped(x.0));
    let _ = write!(
        svg,
        "<text x=\"14\" y=\"{:.1}\" text-anchor=\"middle\" transform=\"rotate(-90 14 {0:.1})\">{}</text>",
        HEIGHT / 2.0,
        escaped(y.0)
    );
    for (number, line) in lines.iter().enumerate() {
        let colour = COLOURS[number % COLOURS.len()];
        let points: Vec<(f64, f64)> =
            line.points.iter().copied().filter(|(px, py)| usable(*px, x.1) && usable(*py, y.1)).map(place).collect();
        if line.dots || points.len() == 1 {
            for (px, py) in &points {
                let _ = write!(svg, "<circle cx=\"{px:.1}\" cy=\"{py:.1}\" r=\"4\" fill=\"{colour}\"/>");
            }
        } else {
            let path: String = points.iter().map(|(px, py)| format!("{px:.1},{py:.1} ")).collect();
            let _ = write!(svg, "<polyline points=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>");
        }
        let (key_x, key_y) = (WIDTH - RIGHT + 12.0, TOP + 14.0 + 18.0 * number as f64);
        let _ = write!(
            svg,
            "<rect x=\"{key_x:.1}\" y=\"{:.1}\" width=\"10\" height=\"10\" fill=\"{colour}\"/>",
            key_y - 9.0
        );
        let _ = write!(svg, "<text x=\"{:.1}\" y=\"{key_y:.1}\">{}</text>", key_x + 15.0, escaped(&line.name));
    }
    let title = escaped(title);
    format!(
        "<figure><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">{svg}</svg><figcaption>{title}</figcaption></figure>\n"
    )
}

fn usable(value: f64, scale: Scale) -> bool {
    value.is_finite() && (scale != Scale::Log || value > 0.0)
}

struct Axis {
    scale: Scale,
    low: f64,
    high: f64,
}

impl Axis {
    fn of(scale: Scale, values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = values.fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
        match scale {
            Scale::Linear => Self { scale, low: 0.0_f64.min(low), high: if high > 0.0 { high * 1.05 } else { 1.0 } },
            Scale::Log => {
                let (low, high) = (10_f64.powf(low.log10().floor()), 10_f64.powf(high.log10().ceil()));
                Self { scale, low, high: if high > low { high } else { low * 10.0 } }
            }
            // The last point of a histogram is its maximum, at quantile 1: it is drawn at the end.
            Scale::Nines => Self { scale, low: 0.0, high: 0.99999 },
        }
    }

    /// Between 0 and 1.
    fn at(&self, value: f64) -> f64 {
        let turned = |value: f64| match self.scale {
            Scale::Linear => value,
            Scale::Log => value.log10(),
            Scale::Nines => -(1.0 - value.min(self.high)).log10(),
        };
        ((turned(value) - turned(self.low)) / (turned(self.high) - turned(self.low)).max(1e-12)).clamp(0.0, 1.0)
    }

    fn ticks(&self) -> Vec<(f64, String)> {
        match self.scale {
            Scale::Linear => {
                let step = nice((self.high - self.low) / 6.0);
                let first = (self.low / step).ceil();
                (0..20)
                    .map(|n| (first + f64::from(n)) * step)
                    .take_while(|v| *v <= self.high)
                    .map(|v| (v, short(v)))
                    .collect()
            }
            Scale::Log => {
                let decades = (self.high / self.low).log10().round().clamp(1.0, 20.0);
                let powers = (0..=20).map(f64::from).take_while(|n| *n <= decades);
                powers.map(|n| self.low * 10_f64.powf(n)).map(|v| (v, short(v))).collect()
            }
            Scale::Nines => [(0.0, "0 %"), (0.9, "90 %"), (0.99, "99 %"), (0.999, "99.9 %"), (0.9999, "99.99 %")]
                .map(|(value, label)| (value, label.to_owned()))
                .to_vec(),
        }
    }
}

/// 1, 2 or 5 times a power of ten, at least as large.
fn nice(step: f64) -> f64 {
    let power = 10_f64.powf(step.max(1e-12).log10().floor());
    [1.0, 2.0, 5.0, 10.0].map(|n| n * power).into_iter().find(|nice| *nice >= step).unwrap_or(power * 10.0)
}

fn short(value: f64) -> String {
    match value.abs() {
        v if v >= 1e6 => format!("{}M", round(value / 1e6)),
        v if v >= 1e4 => format!("{}k", round(value / 1e3)),
        _ => round(value),
    }
}

fn round(value: f64) -> String {
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_and_ticks() {
        let axis = Axis::of(Scale::Linear, [3.0, 57.0].into_iter());
        assert_eq!(
            axis.ticks().iter().map(|(_, label)| label.as_str()).collect::<Vec<_>>(),
            ["0", "10", "20", "30", "40", "50"]
        );
        let axis = Axis::of(Scale::Log, [0.02, 300.0].into_iter());
        assert_eq!(axis.ticks().first().map(|(_, label)| label.clone()), Some("0.01".to_owned()));
        assert!((Axis::of(Scale::Nines, [0.5].into_iter()).at(0.9) - 0.2).abs() < 1e-9);
        assert_eq!((short(1_500_000.0), short(25_000.0), short(0.25)), ("1.5M".into(), "25k".into(), "0.25".into()));
    }

    #[test]
    fn names_are_escaped_and_nothing_gives_nothing() {
        let lines = [Line::new("a<b>", vec![(0.0, 1.0), (1.0, f64::NAN), (2.0, 3.0)])];
        let svg = plot("t & u", ("x", Scale::Linear), ("y", Scale::Log), &lines);
        assert!(svg.contains("a&lt;b&gt;") && svg.contains("t &amp; u") && !svg.contains("NaN"), "{svg}");
        assert_eq!(plot("t", ("x", Scale::Linear), ("y", Scale::Log), &[Line::new("zero", vec![(0.0, 0.0)])]), "");
    }
}

//! What a terminal shows while a load runs: rate, latency and errors over time.

use std::collections::VecDeque;
use std::io::{self, IsTerminal as _, Stderr};
use std::time::{Duration, Instant};

use load_tests::duration::display_ns;
use load_tests::load::{Plan, Sample};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{self, Clear, ClearType};
use ratatui::layout::{Constraint, Layout, Position, Rect};
use ratatui::style::Color;
use ratatui::text::Line;
use ratatui::widgets::{Block, Gauge, Paragraph, Sparkline};
use ratatui::{TerminalOptions, Viewport};

/// Lines of the terminal that are used.
const HEIGHT: u16 = 17;

/// Time between two pictures.
const REDRAW_EVERY: Duration = Duration::from_millis(250);

/// Seconds that are shown.
const SECONDS_MAX: usize = 600;

/// One second of a run.
#[derive(Default)]
struct Second {
    due: u64,
    ok: u64,
    bad: u64,
    latencies_ns: Vec<u64>,
}

pub(crate) struct Screen {
    terminal: Terminal<CrosstermBackend<Stderr>>,
    title: String,
    length: Duration,
    seconds: VecDeque<Second>,
    at: Duration,
    in_flight: usize,
    totals: (u64, u64, u64),
    drawn: Instant,
}

impl Screen {
    /// # Errors
    /// A sentence for the user when standard error is no terminal.
    pub(crate) fn open(plan: &Plan) -> Result<Self, String> {
        if !io::stderr().is_terminal() {
            return Err("--live needs a terminal: standard error is none".to_owned());
        }
        let unusable = |error: io::Error| format!("the terminal cannot be used: {error}");
        let (columns, rows) = terminal::size().map_err(unusable)?;
        // The top of the screen, and not another screen: what was measured stays there, whichever way the run ends.
        let area = Rect::new(0, 0, columns.max(1), rows.clamp(1, HEIGHT));
        let options = TerminalOptions { viewport: Viewport::Fixed(area) };
        let terminal = Terminal::with_options(CrosstermBackend::new(io::stderr()), options).map_err(unusable)?;
        execute!(io::stderr(), Clear(ClearType::All)).map_err(unusable)?;
        Ok(Self {
            terminal,
            title: plan.target.url().to_owned(),
            length: plan.warmup + plan.duration,
            seconds: VecDeque::new(),
            at: Duration::ZERO,
            in_flight: 0,
            totals: (0, 0, 0),
            drawn: Instant::now(),
        })
    }

    /// Adds a sample of one thread, and draws if it is time.
    pub(crate) fn show(&mut self, sample: Sample) {
        let second = usize::try_from(sample.at.as_secs()).unwrap_or(usize::MAX).min(SECONDS_MAX - 1);
        while self.seconds.len() <= second {
            self.seconds.push_back(Second::default());
        }
        let slot = &mut self.seconds[second];
        slot.due += sample.due;
        slot.ok += sample.ok;
        slot.bad += sample.bad;
        slot.latencies_ns.extend(&sample.latencies_ns);
        self.totals = (self.totals.0 + sample.due, self.totals.1 + sample.ok, self.totals.2 + sample.bad);
        (self.at, self.in_flight) = (self.at.max(sample.at), sample.in_flight);
        if self.drawn.elapsed() >= REDRAW_EVERY {
            self.drawn = Instant::now();
            self.draw();
        }
    }

    fn draw(&mut self) {
        let percentile = |second: &Second, quantile: f64| {
            let mut times = second.latencies_ns.clone();
            times.sort_unstable();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
            let at = (quantile * times.len() as f64) as usize;
            times.get(at.min(times.len().saturating_sub(1))).copied().unwrap_or(0)
        };
        let rates: Vec<u64> = self.seconds.iter().map(|second| second.ok).collect();
        let bad: Vec<u64> = self.seconds.iter().map(|second| second.bad).collect();
        let slow: Vec<u64> = self.seconds.iter().map(|second| percentile(second, 0.99) / 1000).collect();
        // The newest second is not over yet.
        let last = self.seconds.iter().rev().nth(1).or(self.seconds.back());
        let (p50, p99) = last.map_or((0, 0), |second| (percentile(second, 0.5), percentile(second, 0.99)));
        let done = (self.at.as_secs_f64() / self.length.as_secs_f64().max(1e-9)).min(1.0);
        let (due, ok, errors) = self.totals;
        let figures = format!(
            "due {due}   good {ok}   bad {errors}   in flight {}   last second: p50 {}, p99 {}",
            self.in_flight,
            display_ns(p50),
            display_ns(p99)
        );
        let title = self.title.clone();
        // A picture that cannot be drawn is no reason to spoil the run.
        let _ = self.terminal.draw(|frame| {
            // A cursor that has a place is shown, also to whoever interrupts the run.
            frame.set_cursor_position(Position::new(0, frame.area().bottom().saturating_sub(1)));
            let rows: [_; 5] = Layout::vertical([
                Constraint::Length(3),
                Constraint::Length(1),
                Constraint::Length(4),
                Constraint::Length(4),
                Constraint::Length(4),
            ])
            .areas(frame.area());
            frame.render_widget(Gauge::default().block(Block::bordered().title(title)).ratio(done), rows[0]);
            frame.render_widget(Paragraph::new(Line::from(figures)), rows[1]);
            let charts = [
                ("good per second", &rates, Color::Green),
                ("p99, µs", &slow, Color::Yellow),
                ("bad per second", &bad, Color::Red),
            ];
            for ((name, values, colour), area) in charts.into_iter().zip(&rows[2..]) {
                let most = values.iter().max().copied().unwrap_or(0);
                let width = usize::from(area.width.saturating_sub(2));
                let shown = &values[values.len().saturating_sub(width)..];
                let block = Block::bordered().title(format!("{name} (up to {most})"));
                frame.render_widget(Sparkline::default().block(block).style(colour).data(shown), *area);
            }
        });
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.draw();
        eprintln!();
    }
}

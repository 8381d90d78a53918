//! Reports as one HTML page each: plots are SVG, styles are in the page, and nothing is loaded from anywhere.

mod capacity;

mod plot;
mod runs;

pub use capacity::capacity;

pub use runs::runs;

/// A whole page.
fn page(title: &str, body: &str) -> String {
    let title = escaped(title);
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">\
         <meta name=\"viewport\" content=\"width=device-width\"><link rel=\"icon\" href=\"data:,\"><title>{title}</title>\n\
         <style>{STYLE}</style></head><body><main>\n<h1>{title}</h1>\n{body}</main></body></html>\n"
    )
}

const STYLE: &str = "
:root { color-scheme: light dark; --ink: light-dark(#1a1d21, #e6e6e6); --paper: light-dark(#fff, #16181b);
  --line: light-dark(#d5d8dc, #3a3f45); --soft: light-dark(#5d6670, #9aa3ad); --bad: light-dark(#b3261e, #ff8a80); }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 0; }
main { max-width: 60rem; margin: 0 auto; padding: 1.5rem; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .75rem; border-bottom: 1px solid var(--line); text-align: right; }
th:first-child, td:first-child { text-align: left; }
.answer { font-size: 1.2rem; padding: .75rem 1rem; border-left: 4px solid currentColor; }
.bad { color: var(--bad); }
.soft, figcaption { color: var(--soft); }
figure { margin: 1.5rem 0; } svg { width: 100%; height: auto; } svg text { fill: var(--ink); font-size: 11px; }
";

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A table of text; cells are escaped.
fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let cells = |cells: &mut dyn Iterator<Item = String>, tag: &str| {
        cells.map(|cell| format!("<{tag}>{}</{tag}>", escaped(&cell))).collect::<String>()
    };
    let head = cells(&mut head.iter().map(|cell| (*cell).to_owned()), "th");
    let rows: String = rows.iter().map(|row| format!("<tr>{}</tr>\n", cells(&mut row.iter().cloned(), "td"))).collect();
    format!("<table><thead><tr>{head}</tr></thead><tbody>\n{rows}</tbody></table>\n")
}

//! What people see in a browser: functions from what the admin API shows (JSON) to HTML. They read no state and decide nothing.
//!
//! Styles and the script lie beside, in `assets/`, and are part of the binary: no page asks anything of another server, and none has
//! styles or scripts of its own, so that the content security policy forbids both. Without the script everything works but what
//! moves: local times, refreshing, the live list, replaying.

mod answer;
pub(crate) mod approvals;
pub(crate) mod evidence;
pub(crate) mod exchange;
pub(crate) mod exchanges;
pub(crate) mod login;
mod masked;
pub(crate) mod overview;
mod parts;
pub(crate) mod policy;
pub(crate) mod proof;
mod timeline;
pub(crate) mod upstreams;
mod value;

use maud::{DOCTYPE, Markup, PreEscaped, html};

/// What every page has around it.
pub(crate) struct Frame<'a> {
    pub(crate) title: &'a str,
    pub(crate) section: Section,
    /// Who has signed in.
    pub(crate) subject: &'a str,
    pub(crate) roles: &'a [&'static str],
    pub(crate) csrf: &'a str,
    pub(crate) approvals_pending: usize,
    /// Whether this is the quickstart, where anybody may be anybody.
    pub(crate) development: bool,
}

/// The parts of the console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    Overview,
    Approvals,
    Exchanges,
    Policy,
    Upstreams,
    Evidence,
    /// None of them, such as an error.
    None,
}

/// Section, path, name, who may (besides administrators), icon: paths of a 16 × 16 drawing.
const SECTIONS: [(Section, &str, &str, Option<&str>, &str); 6] = [
    (Section::Overview, "/", "Overview", None, "M2 9h4v5H2zM10 2h4v12h-4zM6 6h4v8H6z"),
    (Section::Approvals, "/approvals", "Approvals", None, "M2 3h12v10H2zM5 8l2 2 4-4"),
    (Section::Exchanges, "/exchanges", "Exchanges", Some("auditor"), "M3 5h10M10 2l3 3-3 3M13 11H3M6 8l-3 3 3 3"),
    (Section::Policy, "/policy", "Policy", None, "M4 2h6l3 3v9H4zM6 8h5M6 11h5"),
    (Section::Upstreams, "/upstreams", "Upstreams", None, "M2 3h12v4H2zM2 9h12v4H2zM5 5h.1M5 11h.1"),
    (Section::Evidence, "/evidence", "Evidence", None, "M8 2l5 2v4c0 3-2 5-5 6-3-1-5-3-5-6V4zM6 8l1.5 1.5L10.5 6.5"),
];

const STYLES: &[u8] = include_bytes!("assets/console.css");
const SCRIPT: &[u8] = include_bytes!("assets/console.js");
const ICON: &[u8] = include_bytes!("assets/icon.svg");

/// A file that pages ask for: media type and bytes.
pub(crate) fn asset(name: &str) -> Option<(&'static str, &'static [u8])> {
    match name {
        "console.css" => Some(("text/css; charset=utf-8", STYLES)),
        "console.js" => Some(("text/javascript; charset=utf-8", SCRIPT)),
        "icon.svg" => Some(("image/svg+xml", ICON)),
        _ => None,
    }
}

/// A whole page.
pub(crate) fn page(frame: &Frame<'_>, body: Markup) -> String {
    let may =
        |role: Option<&str>| role.is_none_or(|role| frame.roles.contains(&role) || frame.roles.contains(&"admin"));
    let shown = SECTIONS.iter().filter(|(_, _, _, role, _)| may(*role));
    document(
        frame.title,
        None,
        html! {
            a.skip href="#main" { "Skip to content" }
            div.shell {
                header.side {
                    a.brand href="/" aria-label="Sallyport, overview" { (mark()) span { "Sallyport" } }
                    nav aria-label="Main" {
                        ul {
                            @for (section, path, name, _, icon) in shown {
                                li {
                                    a href=(path) aria-current=[(*section == frame.section).then_some("page")] {
                                        (drawing(icon)) span { (name) }
                                        @if *section == Section::Approvals {
                                            span #waiting .count data-live hidden[frame.approvals_pending == 0] {
                                                (frame.approvals_pending) span.unseen { " waiting" }
                                            }
                                        }
                                    }
                                }
                            }
                        }
                    }
                    div.who {
                        div.name title=(frame.subject) { (frame.subject) }
                        div.roles {
                            @if frame.roles.is_empty() { "no role" } @else { (frame.roles.join(" · ")) }
                        }
                        form method="post" action="/logout" {
                            input type="hidden" name="csrf" value=(frame.csrf);
                            button.plain { "Sign out" }
                        }
                    }
                }
                main #main tabindex="-1" {
                    @if frame.development {
                        p.banner { strong { "Development login." } " Whoever can reach this page can be anybody. For trying out, on this machine only." }
                    }
                    (body)
                }
            }
        },
    )
}

/// A page without navigation, for whoever has not signed in. `to` is where it leads on to by itself.
pub(crate) fn bare(title: &str, to: Option<&str>, body: Markup) -> String {
    document(
        title,
        to,
        html! {
            main.card-page #main {
                div.brand { (mark()) span { "Sallyport" } }
                (body)
            }
        },
    )
}

/// Something that cannot be shown or done.
pub(crate) fn problem(message: &str) -> Markup {
    html! {
        (parts::heading("Not possible", None))
        div.panel.note.bad role="alert" { p { (message) } }
        p { a href="/" { "To the overview" } }
    }
}

fn document(title: &str, to: Option<&str>, body: Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                @if let Some(to) = to { meta http-equiv="refresh" content={ "0; url=" (to) }; }
                title { (title) " · Sallyport" }
                link rel="icon" type="image/svg+xml" href="/assets/icon.svg";
                link rel="stylesheet" href="/assets/console.css";
                script src="/assets/console.js" defer {}
            }
            body { (body) }
        }
    };
    page.into_string()
}

/// The gate.
fn mark() -> Markup {
    drawing_of("mark", "M2 14V6l6-4 6 4v8M5 14V8h6v6M8 8v6")
}

fn drawing(paths: &str) -> Markup {
    drawing_of("icon", paths)
}

fn drawing_of(class: &str, paths: &str) -> Markup {
    PreEscaped(format!(
        "<svg class=\"{class}\" viewBox=\"0 0 16 16\" aria-hidden=\"true\" focusable=\"false\"><path d=\"{paths}\"/></svg>"
    ))
}

//! What a person sees in a browser: the board, an issue, and buttons that move it.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{Category, Change, Config, Issue, Jira, Person, documents};
use crate::{Answer, Request, live, lock};

const PEOPLE: [&str; 3] = ["John Doe", "Mia Krystof", "Priya Raman"];

const STYLE: &str = "
*{box-sizing:border-box}
:root{font:15px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif;color:#172b4d;background:#f7f8f9}
body{max-width:1080px;margin:0 auto;padding:1rem 1.5rem 3rem}
header{display:flex;flex-wrap:wrap;gap:0 .8rem;align-items:baseline;border-bottom:1px solid #dcdfe4;padding-bottom:.6rem;margin-bottom:1rem}
header b{color:#0c66e4}header small{color:#5c6880}
a{color:#0c66e4;text-decoration:none}a:hover{text-decoration:underline}p a{text-decoration:underline}
:focus-visible{outline:2px solid #0c66e4;outline-offset:2px}
.board{display:grid;grid-template-columns:repeat(3,minmax(0,1fr));gap:1rem}
.column{background:#f1f2f4;border-radius:8px;padding:.6rem}.column h2{font-size:.8rem;margin:.2rem .3rem .6rem;color:#44546f}
.card{display:block;background:#fff;border-radius:6px;box-shadow:0 1px 2px #091e4240;padding:.6rem .7rem;margin-bottom:.5rem;color:inherit;overflow-wrap:anywhere}
.card small{color:#5c6880;display:flex;justify-content:space-between;margin-top:.4rem}
.sheet{display:grid;grid-template-columns:minmax(0,2.2fr) minmax(0,1fr);gap:1.5rem 2rem;background:#fff;border-radius:8px;box-shadow:0 1px 2px #091e4240;padding:1.2rem 1.6rem}
h1{font-size:1.45rem;line-height:1.3;margin:.2rem 0 1rem;overflow-wrap:anywhere}h1.name{font-size:1rem;margin:0}h2{font-size:1rem;margin:1.4rem 0 .4rem}
.lozenge{display:inline-block;border-radius:4px;padding:.05rem .5rem;font-size:.75rem;font-weight:700;text-transform:uppercase}
.new{background:#dcdfe4;color:#44546f}.indeterminate{background:#cce0ff;color:#0055cc}.done{background:#baf3db;color:#1a5c40}
pre{background:#f1f2f4;border-radius:4px;padding:.6rem .8rem;margin:.5rem 0 1rem;font-size:.87em;white-space:pre-wrap;overflow-wrap:anywhere}
p{overflow-wrap:anywhere;margin:.7rem 0}li p{margin:.15rem 0}ul{padding-left:1.4rem}
.comment{border-left:3px solid #dcdfe4;padding-left:.8rem;margin:.8rem 0}.comment small{color:#5c6880}.comment p{margin:.2rem 0}.comment em{color:#5c6880;font-size:.85em}
dl{display:grid;grid-template-columns:auto minmax(0,1fr);gap:.3rem .9rem}dt{color:#5c6880}dd{margin:0;overflow-wrap:anywhere}
button,select{font:inherit;border:1px solid #8590a2;border-radius:4px;background:#fff;color:inherit;padding:.25rem .7rem;margin:.15rem .3rem .15rem 0}
button{cursor:pointer;background:#0c66e4;color:#fff;border-color:#0c66e4}
@media(max-width:700px){body{padding:.8rem .8rem 2rem}.board,.sheet{grid-template-columns:minmax(0,1fr)}.sheet{padding:1rem}}
";

impl Jira {
    pub(super) fn page(&self, request: &Request, path: &[&str]) -> Answer {
        match (request.method.as_str(), path) {
            ("GET" | "HEAD", [""]) => self.board(),
            ("GET" | "HEAD", ["browse", key]) => self.issue_page(key),
            ("GET", ["live.js"]) => live::script(),
            ("POST", ["browse", key, "move"]) => self.click(request, key),
            _ => page(
                404,
                "Not found",
                &html! { main { h1 { "There is nothing here" } p { a href="/" { "To the board" } } } },
            ),
        }
    }

    fn board(&self) -> Answer {
        let world = lock(&self.world);
        let mut issues: Vec<&Issue> = world.issues.values().collect();
        issues.sort_by_key(|issue| std::cmp::Reverse(issue.id));
        let kind = |issue: &Issue| {
            world
                .config
                .workflow
                .status(&issue.status)
                .map(|status| status.category)
        };
        let columns = [Category::New, Category::Indeterminate, Category::Done];
        page(
            200,
            &world.config.project,
            &html! {
                header { h1.name { b { (world.config.project) } " board" } small { "a stand-in for JIRA Cloud, for looking at" } }
                main.board {
                    @for column in columns {
                        section.column {
                            h2 { (column.name().to_uppercase()) }
                            @for issue in issues.iter().filter(|issue| kind(issue) == Some(column)) { (card(issue, &world.config)) }
                        }
                    }
                }
            },
        )
    }

    fn issue_page(&self, key: &str) -> Answer {
        let world = lock(&self.world);
        let Some(issue) = world.issues.get(key) else {
            return page(
                404,
                "Not found",
                &html! { main { h1 { "This issue does not exist" } p { a href="/" { "To the board" } } } },
            );
        };
        let config = &world.config;
        page(
            200,
            &format!("{} {}", issue.key, issue.summary),
            &html! {
                header { b { a href="/" { (config.project) } } span { "/ " (issue.key) } small { "a stand-in for JIRA Cloud" } }
                main.sheet {
                    div {
                        h1 { (issue.summary) }
                        h2 { "Description" }
                        (documents::markup(&issue.description))
                        h2 { "Comments" }
                        @if issue.comments.is_empty() { p { small { "None yet." } } }
                        @for comment in &issue.comments {
                            div.comment { small { (comment.author.name) " · " (at(comment.created)) } (documents::markup(&comment.body)) }
                        }
                        h2 { "History" }
                        @if issue.history.is_empty() { p { small { "Nothing has changed yet." } } }
                        @for change in issue.history.iter().rev() { (history(change)) }
                    }
                    section aria-label="Status and details" {
                        p { (lozenge(&issue.status, config)) }
                        (buttons(issue, config))
                        (details(issue))
                    }
                }
            },
        )
    }

    fn click(&self, request: &Request, key: &str) -> Answer {
        let form: Vec<(String, String)> = url::form_urlencoded::parse(&request.body)
            .into_owned()
            .collect();
        let field = |name: &str| {
            form.iter()
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.as_str())
                .unwrap_or_default()
        };
        let who = PEOPLE
            .into_iter()
            .find(|name| *name == field("who"))
            .unwrap_or("John Doe");
        self.relocate(key, field("to"), &Person::named(who), None);
        // The key came from outside: only a key that exists goes into the header.
        let known = lock(&self.world).issues.contains_key(key);
        Answer::empty(303).with_header(
            "location",
            &if known {
                format!("/browse/{key}")
            } else {
                "/".to_owned()
            },
        )
    }
}

fn page(status: u16, title: &str, body: &Markup) -> Answer {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                (live::head(2))
                title { (title) }
                link rel="icon" href="data:,";
                style { (PreEscaped(STYLE)) }
            }
            body { (body) }
        }
    };
    let headers = vec![(
        "content-type".to_owned(),
        "text/html; charset=utf-8".to_owned(),
    )];
    Answer {
        status,
        headers,
        body: page.into_string().into(),
    }
}

fn at(time: chrono::DateTime<chrono::Utc>) -> String {
    time.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn lozenge(status: &str, config: &Config) -> Markup {
    let kind = config
        .workflow
        .status(status)
        .map_or("new", |status| status.category.key());
    html! { span class=(format!("lozenge {kind}")) { (status) } }
}

fn card(issue: &Issue, config: &Config) -> Markup {
    html! {
        a.card href=(format!("/browse/{}", issue.key)) {
            (issue.summary)
            small { span { (issue.key) " · " (issue.priority.as_deref().unwrap_or("no priority")) } (lozenge(&issue.status, config)) }
        }
    }
}

fn history(change: &Change) -> Markup {
    html! {
        @for (field, from, to) in change.items.iter().filter(|(field, _, _)| field != "description") {
            div.comment {
                small { (change.author.name) " · " (at(change.at)) }
                br; (field) ": " (from.as_deref().unwrap_or("None")) " → " (to.as_deref().unwrap_or("None"))
            }
        }
    }
}

fn buttons(issue: &Issue, config: &Config) -> Markup {
    let others = config
        .workflow
        .statuses
        .iter()
        .filter(|status| status.name != issue.status);
    html! {
        form method="post" action=(format!("/browse/{}/move", issue.key)) {
            label { "As " select name="who" { @for name in PEOPLE { option { (name) } } } }
            div { @for status in others { button name="to" value=(status.name) { (label(issue, status.category, config)) (status.name) } } }
        }
    }
}

/// Leaving a done status is what people call reopening.
fn label(issue: &Issue, to: Category, config: &Config) -> &'static str {
    let done = config
        .workflow
        .status(&issue.status)
        .is_some_and(|status| status.category == Category::Done);
    if done && to != Category::Done {
        "Reopen: "
    } else {
        "Move to "
    }
}

fn details(issue: &Issue) -> Markup {
    html! {
        dl {
            dt { "Type" } dd { (issue.issue_type) }
            dt { "Priority" } dd { (issue.priority.as_deref().unwrap_or("None")) }
            dt { "Labels" } dd { (issue.labels.join(", ")) }
            dt { "Resolution" } dd { (issue.resolution.as_deref().unwrap_or("Unresolved")) }
            dt { "Created" } dd { (at(issue.created)) }
        }
    }
}

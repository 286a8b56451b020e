//! The closed sets: every source, sink, door and kind of rows makes the whole round trip, and no match over one of them
//! has an arm for the rest.

use std::collections::BTreeSet;

use aiops_rca::failure::Source;
use aiops_rca::functions::{Door, Trigger};
use aiops_rca::sources::RowsOf;
use aiops_rca::ticket::{Sink, TicketId};
use syn::visit::Visit;

use super::path;

#[test]
fn every_source_makes_the_round_trip() {
    let at = "2026-07-27T09:15:31Z".parse().unwrap();
    let mut prefixes = BTreeSet::new();
    for source in Source::ALL {
        let id = TicketId::new(source, at, 0x003f_2a1c);
        assert_eq!(TicketId::parse(id.as_str()), Some(id.clone()), "{source}");
        let prefix = source.ticket_prefix();
        assert!(id.as_str().starts_with(prefix));
        assert_eq!(Source::from_ticket_prefix(prefix), Some(source));
        assert_eq!(
            Source::from_name(&source.name().to_uppercase()),
            Some(source)
        );
        let text = serde_json::to_string(&source).unwrap();
        assert_eq!(text, format!("\"{}\"", source.name()));
        assert_eq!(serde_json::from_str::<Source>(&text).unwrap(), source);
        prefixes.insert(prefix);
    }
    assert_eq!(prefixes.len(), Source::ALL.len());
    assert_eq!(TicketId::parse("XYZ-20260727T091531-3f2a1c"), None);
}

#[test]
fn every_kind_of_rows_has_its_source() {
    let sources: Vec<Source> = RowsOf::ALL.into_iter().map(RowsOf::source).collect();
    assert_eq!(
        sources,
        [Source::Adf, Source::Databricks, Source::Databricks]
    );
    for rows in RowsOf::ALL {
        let text = serde_json::to_string(&rows).unwrap();
        assert_eq!(serde_json::from_str::<RowsOf>(&text).unwrap(), rows);
    }
}

#[test]
fn every_sink_makes_the_round_trip() {
    let names: BTreeSet<&str> = Sink::ALL.into_iter().map(Sink::name).collect();
    assert_eq!(names.len(), Sink::ALL.len());
    for sink in Sink::ALL {
        let text = serde_json::to_string(&sink).unwrap();
        assert_eq!(serde_json::from_str::<Sink>(&text).unwrap(), sink);
    }
}

#[test]
fn every_door_has_its_path() {
    let names: BTreeSet<&str> = Door::ALL.into_iter().map(Door::name).collect();
    assert_eq!(names.len(), Door::ALL.len());
    for door in Door::ALL {
        let path = match door.trigger() {
            Trigger::Http { route, .. } => route.replace("{*path}", "x"),
            Trigger::Queue(_) | Trigger::Timer(_) => door.name().to_owned(),
        };
        assert_eq!(Door::of_path(&format!("/{path}")), Some(door));
        assert!(door.takes("POST") || door == Door::Health);
    }
    assert_eq!(Door::of_path("/nowhere"), None);
}

/// Matches over one of the closed sets that have an arm for whatever else there is.
struct Open<'a> {
    file: &'a str,
    found: Vec<String>,
}

const CLOSED: [&str; 4] = ["Source", "Sink", "Door", "RowsOf"];

/// Does a pattern name a variant of a closed set?
struct Names(bool);

impl<'ast> Visit<'ast> for Names {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        let first = path.segments.first().map(|piece| piece.ident.to_string());
        self.0 |=
            path.segments.len() > 1 && first.is_some_and(|first| CLOSED.contains(&first.as_str()));
        syn::visit::visit_path(self, path);
    }
}

impl<'ast> Visit<'ast> for Open<'_> {
    fn visit_expr_match(&mut self, found: &'ast syn::ExprMatch) {
        let named = found.arms.iter().any(|arm| {
            let mut names = Names(false);
            names.visit_pat(&arm.pat);
            names.0
        });
        let rest = |pat: &syn::Pat| {
            let bare = matches!(pat, syn::Pat::Ident(name) if name.subpat.is_none());
            bare || matches!(pat, syn::Pat::Wild(_))
        };
        if named
            && found
                .arms
                .iter()
                .any(|arm| arm.guard.is_none() && rest(&arm.pat))
        {
            self.found.push(self.file.to_owned());
        }
        syn::visit::visit_expr_match(self, found);
    }
}

fn open_matches(file: &str, text: &str) -> Vec<String> {
    let tree = syn::parse_file(text).unwrap();
    let mut open = Open {
        file,
        found: Vec::new(),
    };
    open.visit_file(&tree);
    open.found
}

#[test]
fn no_match_over_a_closed_set_has_an_arm_for_the_rest() {
    let mut found = Vec::new();
    for entry in walkdir::WalkDir::new(path("src")) {
        let entry = entry.unwrap().into_path();
        if entry.extension().is_some_and(|kind| kind == "rs") {
            let text = std::fs::read_to_string(&entry).unwrap();
            found.extend(open_matches(&entry.display().to_string(), &text));
        }
    }
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn an_arm_for_the_rest_is_seen() {
    let open = "fn f(s: Source) -> u8 { match s { Source::Adf => 1, _ => 2 } }";
    assert_eq!(open_matches("a", open), ["a"]);
    let tuple = "fn f() -> u8 { match (sink, x) { (Sink::Jira, Some(_)) => 1, other => 2 } }";
    assert_eq!(open_matches("b", tuple), ["b"]);
    let closed =
        "fn f() -> u8 { match s { Source::Adf => 1, Source::Airflow | Source::Databricks => 2 } }";
    assert_eq!(open_matches("c", closed), Vec::<String>::new());
}

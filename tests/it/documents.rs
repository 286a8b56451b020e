//! The documents say what the code does: settings, doors, links, and every command a newcomer would type.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on should stop"
)]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use aiops_rca::config::SETTINGS;
use aiops_rca::functions::{Door, Trigger};

mod newcomer;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The documents for users, by their paths from the root.
fn documents() -> Vec<String> {
    let folder = std::fs::read_dir(root().join("docs")).unwrap();
    let names = folder.map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut documents: Vec<_> = names.map(|name| format!("docs/{name}")).collect();
    documents.sort();
    documents.insert(0, "README.md".to_owned());
    documents
}

/// What stands between two marks of a document, without blank lines around it.
fn between(text: &str, mark: &str) -> String {
    let (open, close) = (format!("<!-- {mark} -->"), format!("<!-- /{mark} -->"));
    assert_eq!(
        text.matches(&open).count(),
        1,
        "the document has the mark {open} once"
    );
    let (_, rest) = text.split_once(&open).unwrap();
    rest.split_once(&close)
        .unwrap_or_else(|| panic!("the document has the mark {close}"))
        .0
        .trim()
        .to_owned()
}

/// The settings as the document shows them.
fn settings_tables() -> String {
    let mut text = String::new();
    let mut group = "";
    for setting in SETTINGS {
        if setting.group != group {
            group = setting.group;
            write!(
                text,
                "\n**{group}**\n\n| Setting | Default | |\n|---|---|---|\n"
            )
            .unwrap();
        }
        let default = match (setting.secret, setting.default) {
            (true, _) => "*secret*".to_owned(),
            (false, "") => String::new(),
            (false, default) => format!("`{default}`"),
        };
        writeln!(
            text,
            "| `{}` | {default} | {} |",
            setting.name, setting.about
        )
        .unwrap();
    }
    text.trim().to_owned()
}

#[test]
fn the_document_of_settings_has_each_once_in_order_with_its_default() {
    let document = read("docs/settings.md");
    let (found, expected) = (between(&document, "settings"), settings_tables());
    assert!(
        found == expected,
        "docs/settings.md must have between its marks `settings`:\n\n{expected}\n"
    );
}

#[test]
fn the_example_file_has_every_setting_once_in_order_with_its_default() {
    let mut expected = String::from(
        "{\n  \"IsEncrypted\": false,\n  \"Values\": {\n    \"FUNCTIONS_WORKER_RUNTIME\": \"custom\"",
    );
    for setting in SETTINGS {
        write!(
            expected,
            ",\n    \"{}\": {}",
            setting.name,
            serde_json::to_string(setting.default).unwrap()
        )
        .unwrap();
    }
    expected.push_str("\n  }\n}\n");
    let found = read("local.settings.json.example");
    assert!(
        found == expected,
        "local.settings.json.example must be:\n\n{expected}"
    );
    let parsed: serde_json::Value = serde_json::from_str(&found).unwrap();
    assert_eq!(
        parsed["Values"].as_object().unwrap().len(),
        SETTINGS.len() + 1,
        "strict JSON, each name once"
    );
}

#[test]
fn the_document_of_doors_has_each() {
    let table = between(&read("docs/security.md"), "doors");
    let found = table.lines().skip(2).map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        (cells[0].to_owned(), cells[1].to_owned())
    });
    let expected = Door::ALL.into_iter().map(|door| {
        let name = door.name();
        let trigger = match door.trigger() {
            Trigger::Http { route, methods, .. } => {
                format!("`{} /{route}`", methods.join(", ").to_ascii_uppercase())
            }
            Trigger::Queue(queue) => format!("queue `{queue}`"),
            Trigger::Timer(schedule) => format!("timer `{schedule}`"),
        };
        (format!("`{name}`"), trigger)
    });
    assert_eq!(found.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
}

/// The text without fenced blocks.
fn prose(text: &str) -> String {
    let mut inside = false;
    let lines = text.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        inside ^= fence;
        !inside && !fence
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The anchors of a document's headings, as GitHub makes them.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = prose(text)
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(str::to_owned)
        .collect::<Vec<_>>();
    let slug = |heading: &String| {
        let words = heading.trim_start_matches('#').trim().to_lowercase();
        words
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
            .collect::<String>()
            .replace(' ', "-")
    };
    headings.iter().map(slug).collect()
}

#[test]
fn links_and_paths_of_the_documents_exist() {
    let link = regex::Regex::new(r"\]\(([^)\s]+)\)").unwrap();
    let path = regex::Regex::new(
        r"`((?:src|infra|tests|functions|benches|\.ci)/[^`*<>{}…\s]*|[a-z_.-]+\.rs)`",
    )
    .unwrap();
    let others = ["CONTRIBUTING.md", "infra/airflow/README.md"].map(str::to_owned);
    for document in documents().iter().chain(&others) {
        let text = read(document);
        let folder = root().join(document).parent().unwrap().to_owned();
        let prose = prose(&text);
        for found in link
            .captures_iter(&prose)
            .map(|found| found.get(1).unwrap().as_str())
        {
            let (file, anchor) = found
                .split_once('#')
                .map_or((found, None), |(file, anchor)| (file, Some(anchor)));
            if found.starts_with("https://") {
                continue;
            }
            let target = if file.is_empty() {
                root().join(document)
            } else {
                folder.join(file)
            };
            assert!(target.exists(), "{document} links to {found}");
            if let Some(anchor) = anchor {
                assert!(
                    anchors(&std::fs::read_to_string(&target).unwrap()).contains(anchor),
                    "{document} links to {found}"
                );
            }
        }
        for found in path
            .captures_iter(&prose)
            .map(|found| found.get(1).unwrap().as_str())
        {
            assert!(exists(found), "{document} names {found}");
        }
    }
}

#[test]
fn the_readme_is_short_and_leads_to_every_document() {
    let readme = read("README.md");
    let lines = readme.lines().count();
    assert!(lines <= 160, "the README has {lines} lines");
    for document in documents().iter().skip(1) {
        assert!(readme.contains(&format!("]({document})")), "{document}");
    }
}

#[test]
fn the_documents_show_every_picture_there_is_and_say_what_is_on_it() {
    let pictures = root().join("tests/screenshots");
    let image =
        regex::Regex::new(r"!\[([^\]]*)\]\((?:\.\./)?tests/screenshots/([^)\s]+)\)").unwrap();
    let texts = documents().into_iter().map(|name| prose(&read(&name)));
    let readme = texts.collect::<Vec<_>>().join("\n");
    let mut shown = BTreeSet::new();
    for found in image.captures_iter(&readme) {
        assert!(
            found[1].len() > 40,
            "{} needs words for those who do not see it",
            &found[2]
        );
        assert!(
            shown.insert(found[2].to_owned()),
            "{} is shown once",
            &found[2]
        );
    }
    let there = std::fs::read_dir(&pictures)
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap());
    assert_eq!(there.collect::<BTreeSet<_>>(), shown);
    assert_eq!(
        readme.matches("![").count(),
        shown.len(),
        "every picture is made by the tests"
    );
    for name in shown {
        let picture = std::fs::read(pictures.join(&name)).unwrap();
        assert!(picture.starts_with(b"\x89PNG\r\n"), "{name} is a PNG");
        assert!(
            picture.len() < 200_000,
            "{name} has {} bytes",
            picture.len()
        );
    }
}

/// A path from the root; a bare file name may be anywhere in `src/`.
fn exists(path: &str) -> bool {
    let somewhere = |name: &str| {
        walkdir::WalkDir::new(root().join("src"))
            .into_iter()
            .flatten()
            .any(|file| file.file_name() == name)
    };
    if path.contains('/') {
        root().join(path).exists()
    } else {
        Path::new(path).exists() || somewhere(path)
    }
}

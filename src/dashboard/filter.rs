//! Which tickets a list shows, in which order, and the addresses of other views of it. Pure.
//!
//! In: parameters of a request. Out: a [`Filter`], a [`View`], and the values that nobody knows: they filter nothing and are
//! said.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::str::FromStr as _;

use crate::diagnosis::Category;
use crate::failure::Source;
use crate::ownership::NOBODY;
use crate::ticket::store::Listed;
use crate::ticket::{Priority, RemediationState, Status, TicketId};

/// Days that the pages offer.
pub(super) const RANGES: [u32; 4] = [1, 7, 30, 90];

/// A state that is no status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr, strum::EnumString)]
#[strum(serialize_all = "snake_case", ascii_case_insensitive)]
pub enum Only {
    /// A plan waits for an answer.
    Approval,
    /// Open after its SLA.
    Breached,
    /// Healed by a playbook.
    Healed,
    /// A later run ended well.
    Recovered,
    /// Nobody owns it.
    Unowned,
}

/// Which tickets a list shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only this status.
    pub status: Option<Status>,
    /// Only this platform.
    pub source: Option<Source>,
    /// Only tickets of this owner, without regard to case; `nobody`: those that nobody owns.
    pub owner: Option<String>,
    /// Only this priority.
    pub priority: Option<Priority>,
    /// Only this category.
    pub category: Option<Category>,
    /// Only this asset, whole.
    pub asset: Option<String>,
    /// Only in this state.
    pub only: Option<Only>,
    /// Only tickets in which this text occurs: in id, asset, error type, issue key, run id, cause, activity, hosts, owner or
    /// closer.
    pub text: String,
    /// How many days back (1 to 90).
    pub days: u32,
    /// Only the tickets of this incident, by its leader's id.
    pub incident: Option<String>,
    /// Only tickets that lead an incident: one of each.
    pub leaders: bool,
    /// Parameters whose values nobody knows, as they were given.
    pub unknown: Vec<(&'static str, String)>,
}

/// The order of a list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, strum::IntoStaticStr, strum::EnumString)]
#[strum(serialize_all = "snake_case", ascii_case_insensitive)]
pub enum Sort {
    /// Open ones by priority, then closed ones; the newest first.
    #[default]
    Priority,
    /// Open ones by when somebody has to have taken them.
    Sla,
    /// By the time of the report, the newest first.
    Reported,
    /// By asset.
    Asset,
    /// By status.
    Status,
}

/// What the rows of a list stand under.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, strum::IntoStaticStr, strum::EnumString)]
#[strum(serialize_all = "snake_case", ascii_case_insensitive)]
pub enum Group {
    /// Nothing.
    #[default]
    None,
    /// The asset.
    Asset,
    /// The error type.
    Cause,
    /// The category.
    Category,
    /// The platform.
    Source,
    /// The owner.
    Owner,
}

/// How a list is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct View {
    /// In which order.
    pub sort: Sort,
    /// Under which headings.
    pub group: Group,
    /// Which page, from 1.
    pub page: usize,
}

impl Filter {
    /// The parameters that it is read from.
    pub const PARAMETERS: [&'static str; 10] = [
        "status", "source", "owner", "priority", "category", "asset", "only", "q", "days",
        "incident",
    ];

    /// Reads its parameters; unknown values filter nothing, and are kept to be said.
    pub fn from_parameters(parameter: impl Fn(&str) -> Option<String>) -> Self {
        let mut unknown = Vec::new();
        let given = |name: &str| {
            let value = parameter(name).unwrap_or_default();
            (!value.trim().is_empty()).then(|| value.trim().to_owned())
        };
        macro_rules! known {
            ($name:literal, $read:expr) => {
                given($name).and_then(|value| {
                    let read = $read(&value);
                    if read.is_none() {
                        unknown.push(($name, value.chars().take(60).collect()));
                    }
                    read
                })
            };
        }
        let filter = Self {
            status: known!("status", |name: &str| Status::from_name(name)),
            source: known!("source", |name: &str| Source::from_name(name)),
            priority: known!("priority", priority),
            category: known!("category", category),
            only: known!("only", |name: &str| Only::from_str(name).ok()),
            owner: given("owner").map(|owner| typed(&owner)),
            asset: given("asset").map(|asset| asset.chars().take(512).collect()),
            text: given("q").map(|text| typed(&text)).unwrap_or_default(),
            days: known!("days", |days: &str| days.parse::<u32>().ok())
                .unwrap_or(7)
                .clamp(1, 90),
            incident: given("incident"),
            leaders: false,
            unknown: Vec::new(),
        };
        Self { unknown, ..filter }
    }

    /// The same for incidents: each is shown by the ticket that leads it.
    #[must_use]
    pub fn of_incidents(self) -> Self {
        Self {
            leaders: true,
            ..self
        }
    }

    /// Does it hide anything that stands in these days?
    pub fn hides(&self) -> bool {
        let bare = Self {
            days: self.days,
            leaders: self.leaders,
            unknown: self.unknown.clone(),
            ..Self::default()
        };
        *self != bare
    }

    /// Is this ticket shown?
    pub fn shows(&self, ticket: &Listed) -> bool {
        let is_owner = |owner: &String| match &ticket.owner {
            Some(its) => its.to_lowercase() == *owner,
            None => owner == NOBODY,
        };
        let is_of = |id: &String| {
            let leader = ticket.leader.as_ref().unwrap_or(&ticket.id);
            leader.as_str() == id.trim()
        };
        let status = if self.leaders {
            ticket.incident_status()
        } else {
            ticket.status
        };
        self.status.is_none_or(|wanted| wanted == status)
            && self.incident.as_ref().is_none_or(is_of)
            && (!self.leaders || ticket.leader.is_none())
            && self.source.is_none_or(|source| source == ticket.source)
            && self.priority.is_none_or(|wanted| wanted == ticket.priority)
            && self.category.is_none_or(|wanted| wanted == ticket.category)
            && self
                .asset
                .as_ref()
                .is_none_or(|asset| *asset == ticket.asset)
            && self.owner.as_ref().is_none_or(is_owner)
            && self.only.is_none_or(|only| is(ticket, only))
            && (self.text.is_empty() || holds(ticket, &self.text))
    }
}

fn is(ticket: &Listed, only: Only) -> bool {
    let open = !ticket.is_closed();
    match only {
        Only::Approval => open && ticket.remediation == RemediationState::AwaitingApproval,
        Only::Breached => open && ticket.sla_breached,
        Only::Healed => ticket.remediation == RemediationState::Succeeded,
        Only::Recovered => ticket.is_closed() && ticket.recovered,
        Only::Unowned => ticket.owner.is_none(),
    }
}

/// `text` is in lower case.
fn holds(ticket: &Listed, text: &str) -> bool {
    let closer = ticket.is_closed().then_some(ticket.status_by.as_str());
    [
        Some(ticket.id.as_str()),
        Some(&ticket.asset),
        Some(&ticket.error_type),
        Some(&ticket.root_cause),
        Some(&ticket.about),
        ticket.jira_key.as_deref(),
        ticket.run_id.as_deref(),
        ticket.owner.as_deref(),
        closer,
    ]
    .into_iter()
    .flatten()
    .any(|its| its.to_lowercase().contains(text))
}

impl View {
    /// The parameters that it is read from.
    pub const PARAMETERS: [&'static str; 3] = ["sort", "group", "page"];

    /// Reads its parameters; what is unknown is as if it were not given, and is added to `unknown`.
    pub fn from_parameters(
        parameter: impl Fn(&str) -> Option<String>,
        unknown: &mut Vec<(&'static str, String)>,
    ) -> Self {
        let mut read = |name: &'static str, known: &dyn Fn(&str) -> bool| {
            let value = parameter(name).filter(|value| !value.trim().is_empty())?;
            if known(&value) {
                return Some(value);
            }
            unknown.push((name, value.chars().take(60).collect()));
            None
        };
        let sort = read("sort", &|name| Sort::from_str(name).is_ok());
        let group = read("group", &|name| Group::from_str(name).is_ok());
        let page = read("page", &|page| page.parse::<usize>().is_ok());
        Self {
            sort: sort.and_then(|name| name.parse().ok()).unwrap_or_default(),
            group: group.and_then(|name| name.parse().ok()).unwrap_or_default(),
            page: page.and_then(|page| page.parse().ok()).unwrap_or(1).max(1),
        }
    }

    /// Puts rows, the newest first, into its order.
    pub fn sort(self, rows: &mut [&Listed]) {
        match self.sort {
            Sort::Priority => rows.sort_by_key(|row| {
                let closed = row.is_closed();
                (closed, if closed { Priority::P4 } else { row.priority })
            }),
            Sort::Sla => rows.sort_by_key(|row| {
                let waits = row.status == Status::Open;
                (row.is_closed(), !waits, row.sla_due_at)
            }),
            Sort::Reported => rows.sort_by_key(|row| Reverse(row.received_at)),
            Sort::Asset => rows.sort_by(|a, b| a.asset.cmp(&b.asset)),
            Sort::Status => rows.sort_by_key(|row| match row.incident_status() {
                Status::Open => 0,
                Status::InProgress => 1,
                Status::Acknowledged => 2,
            }),
        }
        if self.group != Group::None {
            // Groups in the order of their first rows.
            let mut order: HashMap<String, usize> = HashMap::new();
            for row in rows.iter() {
                let next = order.len();
                order.entry(self.group.heading(row)).or_insert(next);
            }
            rows.sort_by_cached_key(|row| order.get(&self.group.heading(row)).copied());
        }
    }
}

impl Group {
    /// What this row stands under.
    pub fn heading(self, row: &Listed) -> String {
        match self {
            Self::None => String::new(),
            Self::Asset => row.asset.clone(),
            Self::Cause => row.error_type.clone(),
            Self::Category => row.category.words().to_owned(),
            Self::Source => row.source.label().to_owned(),
            Self::Owner => row.owner.clone().unwrap_or_else(|| NOBODY.to_owned()),
        }
    }
}

/// The address of a view, as changes of the one that is shown.
#[derive(Debug, Clone, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// The ticket before which the list begins; without it the list begins with the newest.
    const BEFORE: &str = "before";

    /// Of the parameters of a request that say anything.
    pub fn of(parameter: impl Fn(&str) -> Option<String>) -> Self {
        let names = (Filter::PARAMETERS.into_iter())
            .chain(View::PARAMETERS)
            .chain([Self::BEFORE]);
        let given = names.filter_map(|name| {
            let value = parameter(name)?;
            (!value.is_empty()).then(|| (name.to_owned(), value))
        });
        Self(given.collect())
    }

    /// With other values; an empty one removes its parameter. Another view begins with its first page, another list with
    /// its newest ticket.
    #[must_use]
    pub fn with(&self, changes: &[(&str, &str)]) -> Self {
        let same_list = (changes.iter()).all(|(changed, _)| View::PARAMETERS.contains(changed));
        let kept = self.0.iter().filter(|(name, _)| {
            name != "page"
                && (same_list || name != Self::BEFORE)
                && changes.iter().all(|(changed, _)| changed != name)
        });
        let new = changes
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Self(kept.cloned().chain(new).collect())
    }

    /// The list from this ticket on.
    #[must_use]
    pub fn before(&self, ticket: &TicketId) -> Self {
        self.with(&[(Self::BEFORE, ticket.as_str())])
    }

    /// The same list from its newest ticket on, unless it is that already.
    pub fn newest(&self) -> Option<Self> {
        let begins_later = self.0.iter().any(|(name, _)| name == Self::BEFORE);
        begins_later.then(|| self.with(&[(Self::BEFORE, "")]))
    }

    /// Below this path.
    pub fn at(&self, path: &str) -> String {
        if self.0.is_empty() {
            return path.to_owned();
        }
        let query = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(&self.0)
            .finish();
        format!("{path}?{query}")
    }
}

fn priority(name: &str) -> Option<Priority> {
    let all = [Priority::P1, Priority::P2, Priority::P3, Priority::P4];
    all.into_iter()
        .find(|priority| priority.to_string().eq_ignore_ascii_case(name))
}

/// By its name in JSON, or as people read it.
pub fn category(name: &str) -> Option<Category> {
    let name = name.to_lowercase().replace([' ', '-'], "_");
    serde_json::from_value(serde_json::Value::String(name)).ok()
}

/// What somebody typed, as it is compared.
fn typed(text: &str) -> String {
    let start: String = text.chars().take(100).collect();
    start.trim().to_lowercase()
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    fn read(given: &[(&str, &str)]) -> Filter {
        Filter::from_parameters(|name| {
            let mut given = given.iter();
            given
                .find(|(known, _)| *known == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn unknown_values_filter_nothing_and_are_said() {
        let filter = read(&[
            ("status", "opne"),
            ("priority", "p2"),
            ("days", "many"),
            ("only", "healed"),
        ]);
        assert_eq!(filter.status, None);
        assert_eq!(
            (filter.priority, filter.only),
            (Some(Priority::P2), Some(Only::Healed))
        );
        assert_eq!(
            filter.unknown,
            [("status", "opne".to_owned()), ("days", "many".to_owned())]
        );
        assert!(filter.hides() && !read(&[("days", "30")]).hides());
        assert_eq!(
            read(&[("category", "missing data")]).category,
            Some(Category::MissingData)
        );
    }

    #[test]
    fn another_view_keeps_the_filter_and_begins_with_its_first_page() {
        let given = [("status", "open"), ("q", "a b&c"), ("page", "3")];
        let query = Query::of(|name| {
            let mut given = given.iter();
            given
                .find(|(known, _)| *known == name)
                .map(|(_, value)| (*value).to_owned())
        });
        assert_eq!(
            query.at("/dashboard"),
            "/dashboard?status=open&q=a+b%26c&page=3"
        );
        let sorted = query.with(&[("sort", "sla")]);
        assert_eq!(sorted.at("/x"), "/x?status=open&q=a+b%26c&sort=sla");
        assert_eq!(query.with(&[("status", ""), ("q", "")]).at("/x"), "/x");
        let id = TicketId::new(Source::Adf, DateTime::UNIX_EPOCH, 1);
        let older = sorted.before(&id);
        let begins = format!("/x?status=open&q=a+b%26c&sort=sla&before={id}");
        assert_eq!(older.at("/x"), begins);
        assert!(sorted.newest().is_none());
        assert_eq!(older.newest().unwrap().at("/x"), sorted.at("/x"));
        assert_eq!(
            older.with(&[("page", "2")]).at("/x"),
            format!("{begins}&page=2")
        );
        assert_eq!(
            older.with(&[("status", "")]).at("/x"),
            "/x?q=a+b%26c&sort=sla"
        );
    }
}

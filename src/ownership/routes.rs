//! Where the failures of an owner are told: the rules of `OWNER_ROUTES`.

use std::collections::BTreeMap;

use crate::diagnosis::Severity;
use crate::ticket::Ticket;

/// Stands for what nobody owns.
pub const NOBODY: &str = "nobody";
/// Stands for every owner that has no route of its own.
const OTHERS: &str = "*";
/// Everybody who is there: mentioned for what is critical and has nobody else to mention.
const HERE: &str = "here";

/// Where an owner reads of its failures. What is absent is as for everybody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Route {
    /// The Slack channel: an id, or a name with or without `#`.
    pub slack: Option<String>,
    /// The channel of Microsoft Teams, for a bot.
    pub teams: Option<TeamsChannel>,
    /// Whom a message mentions: Slack's ids of people and user groups, `here`, `channel`; Entra object ids and sign-in names
    /// for Teams.
    pub mention: Vec<String>,
    /// The component of its JIRA issues.
    pub component: Option<String>,
    /// More labels of its JIRA issues.
    pub labels: Vec<String>,
    /// JIRA's account id of whom its issues are assigned to.
    pub assignee: Option<String>,
}

/// A channel of Microsoft Teams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TeamsChannel {
    /// Its team's group id; `None`: that of the bot's own channel.
    pub team: Option<String>,
    /// `19:…@thread.tacv2`.
    pub id: String,
}

impl TeamsChannel {
    /// The longest id.
    const ID_CAP: usize = 300;

    /// Reads `<channel id>` or `<team's group id>/<channel id>`.
    fn parse(text: &str) -> Option<Self> {
        let (team, id) = match text.split_once('/') {
            Some((team, id)) => (Some(team), id),
            None => (None, text),
        };
        let is_channel = id.starts_with("19:")
            && id.contains('@')
            && id.len() <= Self::ID_CAP
            && id
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b":@._-".contains(&b));
        (is_channel && team.is_none_or(is_guid)).then(|| Self {
            team: team.map(str::to_owned),
            id: id.to_owned(),
        })
    }
}

/// All routes, by owner.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Routes(BTreeMap<String, Route>);

impl Routes {
    /// Adds one rule: `<owner>: <what>=<value>, …` with `slack`, `teams`, `mention`, `component`, `labels` and `assignee`. The owner
    /// may be `nobody`, or `*` for all that are not named.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn add(&mut self, rule: &str) -> Result<(), String> {
        let form = || {
            format!(
                "`{}` is not `<owner>: slack=<channel>, teams=<channel id>, mention=<id>, component=<name>, labels=<label> <label>, assignee=<account id>`",
                rule.trim()
            )
        };
        let (owner, values) = rule.split_once(':').ok_or_else(form)?;
        let owner = owner.trim().to_lowercase();
        if owner.is_empty() || self.0.contains_key(&owner) {
            return Err(format!("`{owner}` is empty or named twice"));
        }
        let mut route = Route::default();
        for value in values.split(',').filter(|value| !value.trim().is_empty()) {
            let (name, value) = value.split_once('=').ok_or_else(form)?;
            let value = value.trim();
            if value.is_empty() {
                return Err(form());
            }
            let text = || Some(value.to_owned());
            match name.trim().to_ascii_lowercase().as_str() {
                "slack" => route.slack = text(),
                "teams" => {
                    let channel = TeamsChannel::parse(value);
                    route.teams = Some(channel.ok_or_else(|| format!(
                        "`teams={value}` is not a channel's id, 19:…@thread.tacv2 (in its link, percent-decoded), or <team's group id>/<channel's id>"
                    ))?);
                }
                "mention" => route.mention = words(value),
                "component" => route.component = text(),
                "labels" | "label" => route.labels = words(value),
                "assignee" => route.assignee = text(),
                _ => return Err(form()),
            }
        }
        self.0.insert(owner, route);
        Ok(())
    }

    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The route of the owner of what failed.
    pub fn of(&self, ticket: &Ticket) -> Option<&Route> {
        self.entry(ticket).map(|(_, route)| route)
    }

    /// The owner of what failed as a rule names it; `None`: no rule does.
    pub fn owner(&self, ticket: &Ticket) -> Option<&str> {
        let (name, _) = self.entry(ticket)?;
        (name != NOBODY && name != OTHERS).then_some(name)
    }

    /// The channels of Microsoft Teams that rules name, by owner.
    pub fn teams(&self) -> impl Iterator<Item = (&str, &TeamsChannel)> {
        let named = self.0.iter();
        named.filter_map(|(owner, route)| Some((owner.as_str(), route.teams.as_ref()?)))
    }

    /// Whom a Slack message about this ticket mentions: its importance says so, else its owner's route.
    pub fn mentions<'a>(&'a self, ticket: &'a Ticket) -> Vec<&'a str> {
        let severity = ticket.importance.as_ref().map(|it| it.severity);
        match self.called(ticket, |name| !is_person(name)) {
            None => Vec::new(),
            Some(called) if called.is_empty() && severity == Some(Severity::Critical) => vec![HERE],
            Some(called) => called,
        }
    }

    /// The same for Microsoft Teams: Entra object ids and sign-in names.
    pub fn people<'a>(&'a self, ticket: &'a Ticket) -> Vec<&'a str> {
        self.called(ticket, is_person).unwrap_or_default()
    }

    /// Those of this kind; `None`: nobody is to be mentioned.
    fn called<'a>(
        &'a self,
        ticket: &'a Ticket,
        is_meant: impl Fn(&str) -> bool,
    ) -> Option<Vec<&'a str>> {
        let of = |names: &'a [String]| {
            let names = names.iter().map(String::as_str);
            names.filter(|name| is_meant(name)).collect::<Vec<_>>()
        };
        let importance = ticket.importance.as_ref();
        let rules = importance.and_then(|importance| importance.mention.as_deref());
        if rules.is_some_and(<[String]>::is_empty) {
            return None;
        }
        let called = rules.map(of).unwrap_or_default();
        if !called.is_empty() {
            return Some(called);
        }
        if importance.is_some_and(|importance| importance.severity == Severity::Low) {
            return None;
        }
        Some(
            self.of(ticket)
                .map_or_else(Vec::new, |route| of(&route.mention)),
        )
    }

    fn entry(&self, ticket: &Ticket) -> Option<(&str, &Route)> {
        let owner = ticket.owner.as_deref().unwrap_or(NOBODY).to_lowercase();
        let others = || self.0.get_key_value(OTHERS).filter(|_| owner != NOBODY);
        let (name, route) = self.0.get_key_value(&owner).or_else(others)?;
        Some((name, route))
    }
}

/// Is that whom Microsoft Entra ID knows: an object id, or a sign-in name?
fn is_person(name: &str) -> bool {
    let is_part = |part: &str| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"._%+-#'".contains(&b);
        !part.is_empty() && part.bytes().all(plain)
    };
    let is_sign_in = || {
        let (user, domain) = name.split_once('@')?;
        (is_part(user) && is_part(domain) && domain.contains('.')).then_some(())
    };
    is_guid(name) || is_sign_in().is_some()
}

/// `11111111-aaaa-bbbb-cccc-222222222222`.
fn is_guid(text: &str) -> bool {
    text.len() == 36 && uuid::Uuid::try_parse(text).is_ok()
}

/// The words of a value.
pub(super) fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_read_and_what_is_wrong_is_refused() {
        let mut routes = Routes::default();
        let rule = "Team-Finance: slack=#finance, mention=S0AB here, component=Data Platform, labels=finance payroll, assignee=5b10";
        routes.add(rule).unwrap();
        assert_eq!(
            routes.0.get("team-finance"),
            Some(&Route {
                slack: Some("#finance".to_owned()),
                teams: None,
                mention: words("S0AB here"),
                component: Some("Data Platform".to_owned()),
                labels: words("finance payroll"),
                assignee: Some("5b10".to_owned()),
            })
        );
        for wrong in [
            "team-data",
            "team-data: slack",
            "team-data: pager=x",
            "team-data: slack=",
            "team-finance: slack=#other",
            ": slack=#x",
        ] {
            assert!(routes.add(wrong).is_err(), "{wrong}");
        }
        routes.add("team-quiet:").unwrap();
    }

    #[test]
    fn a_channel_of_teams_is_read_and_what_is_none_is_refused() {
        let mut routes = Routes::default();
        let (team, id) = (
            "55555555-aaaa-bbbb-cccc-666666666666",
            "19:0a_b-c@thread.tacv2",
        );
        routes.add(&format!("one: teams={id}")).unwrap();
        routes.add(&format!("two: teams={team}/{id}")).unwrap();
        let channel = |team: Option<&str>| TeamsChannel {
            team: team.map(str::to_owned),
            id: id.to_owned(),
        };
        assert_eq!(
            routes.teams().collect::<Vec<_>>(),
            [("one", &channel(None)), ("two", &channel(Some(team)))]
        );
        for wrong in [
            "#finance",
            "19%3A0ab%40thread.tacv2",
            "19:0ab",
            "https://teams.microsoft.com/l/channel/19%3Aab",
            "19:a b@thread.tacv2",
            "Finance/19:0ab@thread.tacv2",
            "55555555-aaaa-bbbb-cccc-666666666666/",
        ] {
            let fault = routes.add(&format!("x: teams={wrong}")).unwrap_err();
            assert!(fault.contains("19:…@thread.tacv2"), "{fault}");
        }
    }

    #[test]
    fn people_of_entra_are_told_from_slacks() {
        for person in [
            "77777777-aaaa-bbbb-cccc-888888888888",
            "jane.roe@example.com",
            "j_roe#ext#@x.onmicrosoft.com",
        ] {
            assert!(is_person(person), "{person}");
        }
        for other in [
            "S0AB",
            "U0JOHNDOE",
            "here",
            "<@U0JOHNDOE>",
            "@jane",
            "jane@",
            "jane@localhost",
            "a b@example.com",
            "<at>x</at>@example.com",
            "77777777aaaabbbbcccc888888888888",
        ] {
            assert!(!is_person(other), "{other}");
        }
    }
}

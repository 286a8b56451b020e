//! What the API serves: a closed set. `openapi.json` beside this file tells programs the same; a test compares them, and
//! `tests/real/run openapi` tries the document on the running app.

/// The document at `/api/openapi.json`.
pub const DOCUMENT: &str = include_str!("openapi.json");

/// What can be said about a ticket: the last piece of [`Route::Change`]'s path.
pub const ACTIONS: [&str; 7] = [
    "acknowledge",
    "start",
    "reopen",
    "approve",
    "reject",
    "comment",
    "correct",
];

/// One of the API's calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// Tickets as JSON.
    Tickets,
    /// Tickets as CSV.
    TicketsCsv,
    /// One ticket, whole.
    Ticket,
    /// A person's word about a ticket.
    Change,
    /// Incidents as JSON: tickets with one cause are one.
    Incidents,
    /// Incidents as CSV.
    IncidentsCsv,
    /// One incident with its tickets.
    Incident,
    /// A person's word about an incident.
    IncidentChange,
    /// Who owns what failed, and what nobody owns.
    Owners,
    /// Failures that are expected for a while.
    Silences,
    /// A new silence.
    SetSilence,
    /// The early end of a silence.
    EndSilence,
    /// Messages nobody could handle.
    DeadLetters,
    /// Numbers of the last days.
    Summary,
    /// What the patrol asks.
    Scopes,
    /// Prometheus text.
    Metrics,
    /// What has to be corrected.
    Status,
    /// This list, for programs.
    OpenApi,
}

impl Route {
    /// Every call.
    pub const ALL: [Self; 18] = [
        Self::Tickets,
        Self::TicketsCsv,
        Self::Ticket,
        Self::Change,
        Self::Incidents,
        Self::IncidentsCsv,
        Self::Incident,
        Self::IncidentChange,
        Self::Owners,
        Self::Silences,
        Self::SetSilence,
        Self::EndSilence,
        Self::DeadLetters,
        Self::Summary,
        Self::Scopes,
        Self::Metrics,
        Self::Status,
        Self::OpenApi,
    ];

    /// Method and path; a piece in braces is the caller's.
    pub const fn template(self) -> (&'static str, &'static str) {
        match self {
            Self::Tickets => ("GET", "/api/tickets"),
            Self::TicketsCsv => ("GET", "/api/tickets.csv"),
            Self::Ticket => ("GET", "/api/tickets/{id}"),
            Self::Change => ("POST", "/api/tickets/{id}/{action}"),
            Self::Incidents => ("GET", "/api/incidents"),
            Self::IncidentsCsv => ("GET", "/api/incidents.csv"),
            Self::Incident => ("GET", "/api/incidents/{id}"),
            Self::IncidentChange => ("POST", "/api/incidents/{id}/{action}"),
            Self::Owners => ("GET", "/api/owners"),
            Self::Silences => ("GET", "/api/silences"),
            Self::SetSilence => ("POST", "/api/silences"),
            Self::EndSilence => ("POST", "/api/silences/{id}/end"),
            Self::DeadLetters => ("GET", "/api/deadletters"),
            Self::Summary => ("GET", "/api/summary"),
            Self::Scopes => ("GET", "/api/scopes"),
            Self::Metrics => ("GET", "/api/metrics"),
            Self::Status => ("GET", "/api/status"),
            Self::OpenApi => ("GET", "/api/openapi.json"),
        }
    }

    /// The call of a request, with the caller's pieces of the path; `Err`: the methods that its path takes, if any.
    pub(super) fn find<'r>(
        method: &str,
        path: &'r str,
    ) -> Result<(Self, Vec<&'r str>), Vec<&'static str>> {
        let mut methods = Vec::new();
        for route in Self::ALL {
            let (wanted, template) = route.template();
            let Some(pieces) = fits(template, path) else {
                continue;
            };
            if method == wanted {
                return Ok((route, pieces));
            }
            methods.push(wanted);
        }
        Err(methods)
    }
}

fn fits<'r>(template: &str, path: &'r str) -> Option<Vec<&'r str>> {
    let (wanted, given) = (template.trim_matches('/'), path.trim_matches('/'));
    if wanted.split('/').count() != given.split('/').count() {
        return None;
    }
    let mut pieces = Vec::new();
    for (wanted, given) in wanted.split('/').zip(given.split('/')) {
        if wanted.starts_with('{') {
            pieces.push(given);
        } else if wanted != given {
            return None;
        }
    }
    Some(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_is_found_by_its_own_path() {
        for route in Route::ALL {
            let (method, path) = route.template();
            assert_eq!(Route::find(method, path).map(|found| found.0), Ok(route));
        }
        assert_eq!(
            Route::find("POST", "/api/tickets/T-1/reopen/"),
            Ok((Route::Change, vec!["T-1", "reopen"]))
        );
        assert_eq!(Route::find("POST", "/api/tickets"), Err(vec!["GET"]));
        assert_eq!(
            Route::find("GET", "/api/tickets/T-1/reopen"),
            Err(vec!["POST"])
        );
        assert_eq!(Route::find("GET", "/api/nothing"), Err(Vec::new()));
    }
}

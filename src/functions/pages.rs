//! The dashboard's door: pages and their forms.
//!
//! Pages are rendered by `dashboard/`, which is pure; here only access, parameters and status codes.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use warp::http::{Method, StatusCode};

use super::access::{self, AuthError, Caller, DashboardLock};
use super::api::{Words, before, down, event_of, not_found, owned};
use super::events::outcome;
use super::wire::{Request, Response};
use super::{Handler, silences};
use crate::dashboard::{self, Filter, Leave, Query, View, Visitor};
use crate::fault::Fault;
use crate::flow::{Flow, NotSilenced};
use crate::silence::Asked;
use crate::storage::Trouble;
use crate::ticket::store::{Listed, UpdateError};
use crate::ticket::{BlockedSinks, TicketId};

/// How many tickets the overview sorts and pages; it counts all of them.
const IN_A_VIEW: usize = 5000;
/// Tickets that are closed at once.
const AT_ONCE: usize = 200;
const HTML: &str = "text/html; charset=utf-8";
/// Nothing from elsewhere, no scripts but our own file, no frames.
const POLICY: &str = "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

fn page(status: StatusCode, markup: maud::Markup) -> Response {
    Response::text(status, HTML, markup.into_string())
        .with("content-security-policy", POLICY)
        .with("referrer-policy", "same-origin")
        .with("cache-control", "no-store")
}

/// What a form about a silence came to: back to the page, or what is wrong.
fn silenced(done: Result<(), NotSilenced>, back: &str) -> Response {
    match done {
        Ok(()) => Response::empty(StatusCode::SEE_OTHER).with("location", back),
        Err(NotSilenced::Invalid(invalid)) => page(
            StatusCode::BAD_REQUEST,
            dashboard::message("This cannot be silenced", &invalid.to_string()),
        ),
        Err(NotSilenced::Store(fault)) => down_page(&fault),
    }
}

/// The page a request is for, with its parameters.
fn asked_for(request: &Request) -> String {
    if request.query.is_empty() {
        return request.path.clone();
    }
    format!("{}?{}", request.path, request.query)
}

/// The same for people.
fn down_page(fault: &Fault) -> Response {
    let answer = down(fault);
    let trouble = Trouble::of(fault);
    let title = match trouble {
        Trouble::ReadOnly => "The store is read-only",
        Trouble::Full => "The store is full",
        Trouble::Unreadable => "This cannot be read",
        Trouble::Down => "The store does not answer",
    };
    page(answer.status, dashboard::message(title, trouble.sentence()))
}

impl Handler {
    pub(super) async fn dashboard(
        &self,
        path: &str,
        request: &Request,
        now: DateTime<Utc>,
    ) -> Response {
        if let Some(name) = path.strip_prefix("/dashboard/assets/") {
            return match dashboard::asset(name) {
                Some((content_type, body)) => Response::text(StatusCode::OK, content_type, body)
                    .with("cache-control", "max-age=3600"),
                None => Response::error(
                    StatusCode::NOT_FOUND,
                    "no_such_asset",
                    "there is nothing here",
                    "",
                ),
            };
        }
        if path == "/dashboard/login" && request.method == Method::POST {
            return self.login(request, now);
        }
        let caller = match self.doors.dashboard.authenticate(request, now) {
            Ok(caller) => caller,
            Err(AuthError::Closed) => {
                return page(
                    StatusCode::SERVICE_UNAVAILABLE,
                    dashboard::message(
                        "The dashboard is closed",
                        "Set DASHBOARD_AUTH=entra, or DASHBOARD_KEY.",
                    ),
                );
            }
            Err(AuthError::Unknown)
                if matches!(self.doors.dashboard, DashboardLock::Key { .. }) =>
            {
                return page(
                    StatusCode::UNAUTHORIZED,
                    dashboard::login(false, &access::page_of(&asked_for(request))),
                );
            }
            Err(AuthError::Unknown) if request.method == Method::GET => {
                return Response::empty(StatusCode::FOUND)
                    .with("location", access::entra_sign_in(&asked_for(request)))
                    .with("cache-control", "no-store");
            }
            Err(AuthError::Unknown) => {
                return page(
                    StatusCode::UNAUTHORIZED,
                    dashboard::message(
                        "Sign in first",
                        "This dashboard is for people of your organisation.",
                    ),
                );
            }
        };
        let flow = match self.flow().await {
            Ok(flow) => flow,
            Err(fault) => return down_page(&fault),
        };
        if request.method == Method::POST {
            return self.form(flow, path, request, &caller, now).await;
        }
        let shown = match request
            .parameter("ticket")
            .or_else(|| path.strip_prefix("/dashboard/tickets/").map(str::to_owned))
            .or_else(|| {
                path.strip_prefix("/dashboard/incidents/")
                    .map(str::to_owned)
            }) {
            Some(id) => self.ticket_page(flow, &id, &caller, now).await,
            None if path == "/dashboard/scopes" => flow.watches().await.map(|watches| {
                let on = flow.patrol.on;
                page(
                    StatusCode::OK,
                    dashboard::scopes(&watches, on, &self.visitor(&caller), now),
                )
            }),
            None if path == "/dashboard/silences" => self.silences_page(flow, &caller, now).await,
            None if path == "/dashboard/owners" => {
                owned(flow, request, now).await.map(|(owned, days)| {
                    let shown = dashboard::OwnersPage {
                        owned: &owned,
                        days,
                        visitor: self.visitor(&caller),
                    };
                    page(StatusCode::OK, dashboard::owners(&shown))
                })
            }
            None if path == "/dashboard" => self.overview(flow, request, &caller, now).await,
            None => Ok(page(
                StatusCode::NOT_FOUND,
                dashboard::message("Nothing here", "There is no such page."),
            )),
        };
        shown.unwrap_or_else(|fault| down_page(&fault))
    }

    fn login(&self, request: &Request, now: DateTime<Utc>) -> Response {
        let field = |wanted: &str| {
            url::form_urlencoded::parse(&request.body)
                .find(|(name, _)| name == wanted)
                .map(|(_, value)| value.into_owned())
        };
        let next = access::page_of(&field("next").unwrap_or_default());
        let name = field("name").unwrap_or_default();
        let cookie = field("key")
            .and_then(|given| self.doors.dashboard.cookie_for(given.trim(), &name, now));
        match cookie {
            Some(cookie) => Response::empty(StatusCode::SEE_OTHER)
                .with("location", next)
                .with("set-cookie", cookie)
                .with("cache-control", "no-store"),
            None => page(StatusCode::UNAUTHORIZED, dashboard::login(true, &next)),
        }
    }

    /// Who looks, and the way out.
    fn visitor<'a>(&self, caller: &'a Caller) -> Visitor<'a> {
        let leave = match &self.doors.dashboard {
            DashboardLock::Key { .. } => Leave::Form(&caller.form_token),
            DashboardLock::Entra { .. } if caller.is_known => Leave::Link(access::ENTRA_SIGN_OUT),
            #[cfg(feature = "local")]
            DashboardLock::Open => Leave::Not,
            DashboardLock::Entra { .. } | DashboardLock::Closed => Leave::Not,
        };
        Visitor {
            name: &caller.name,
            leave,
        }
    }

    async fn overview(
        &self,
        flow: &Flow,
        request: &Request,
        caller: &Caller,
        now: DateTime<Utc>,
    ) -> Result<Response, Fault> {
        let mut filter = Filter::from_parameters(|name| request.parameter(name));
        // What somebody looks for may be any ticket of an incident.
        if filter.text.is_empty() && filter.incident.is_none() {
            filter = filter.of_incidents();
        }
        let view = View::from_parameters(|name| request.parameter(name), &mut filter.unknown);
        let before = before(request);
        let shows = |ticket: &Listed| filter.shows(ticket);
        let list = flow
            .store
            .list(now, filter.days, before.as_ref(), IN_A_VIEW, shows);
        let summary = flow.store.summary(now, filter.days);
        let ((mut tickets, mut cut), summary, stuck) =
            futures::try_join!(list, summary, flow.store.stuck())?;
        // The days of the list are those of its counts: whole ones.
        if let Some(since) = summary.since() {
            let found = tickets.len();
            tickets.retain(|ticket| ticket.received_at >= since);
            cut &= tickets.len() == found;
        }
        let dead_letters = flow.store.dead_letters().await?;
        let mut outages = flow.store.outages().await?;
        outages.retain(|(_, outage)| outage.lasts(now));
        let mut problems = self.problems();
        problems.extend(self.unwritten(flow, now).await?);
        let keys = tickets
            .iter()
            .filter_map(|ticket| ticket.jira_key.as_deref());
        let issue_urls = flow.sinks.jira.iter().flat_map(|jira| {
            keys.clone()
                .map(|key| (key, jira.browse_link(key).to_string()))
        });
        let query = Query::of(|name| request.parameter(name));
        let last = tickets.last().filter(|_| cut);
        let older = last.map(|last| query.before(&last.id).at("/dashboard"));
        let overview = dashboard::Overview {
            tickets: &tickets,
            summary: &summary,
            view,
            query,
            blocked: &BlockedSinks::of(&stuck),
            older,
            filter: &filter,
            problems: &problems,
            outages: &outages,
            dead_letters: &dead_letters,
            issue_urls: &issue_urls.collect(),
            visitor: self.visitor(caller),
            form_token: &caller.form_token,
            now,
        };
        Ok(page(StatusCode::OK, dashboard::overview(&overview)))
    }

    async fn silences_page(
        &self,
        flow: &Flow,
        caller: &Caller,
        now: DateTime<Utc>,
    ) -> Result<Response, Fault> {
        let listed = flow.list_silences(now).await?;
        let shown = dashboard::SilencesPage {
            silences: &listed,
            visitor: self.visitor(caller),
            form_token: &caller.form_token,
            now,
        };
        Ok(page(StatusCode::OK, dashboard::silences(&shown)))
    }

    /// A form of the page of silences: a new one, or the end of one.
    async fn silence_form(
        &self,
        flow: &Flow,
        rest: &str,
        field: impl Fn(&str) -> Option<String>,
        caller: &Caller,
        now: DateTime<Utc>,
    ) -> Response {
        let by = silences::actor(caller, None);
        let done = match rest.strip_suffix("/end") {
            Some(id) => flow
                .end_silence(id, &by, now)
                .await
                .map(drop)
                .map_err(NotSilenced::from),
            None if rest.is_empty() => {
                let asked = Asked {
                    asset: field("asset").unwrap_or_default(),
                    cause: field("cause"),
                    scope: field("scope"),
                    from: field("from"),
                    until: field("until"),
                    why: field("why").unwrap_or_default(),
                    ..Asked::default()
                };
                flow.set_silence(&asked, by, now).await.map(drop)
            }
            None => return not_found(),
        };
        silenced(done, "/dashboard/silences")
    }

    async fn ticket_page(
        &self,
        flow: &Flow,
        id: &str,
        caller: &Caller,
        now: DateTime<Utc>,
    ) -> Result<Response, Fault> {
        let missing = || {
            page(
                StatusCode::NOT_FOUND,
                dashboard::message(
                    "No such ticket",
                    "It may still be analysed: look again in a moment.",
                ),
            )
        };
        let Some(id) = TicketId::parse(id) else {
            return Ok(missing());
        };
        let Some(ticket) = flow.store.load(&id).await? else {
            return Ok(missing());
        };
        let evidence = flow.store.evidence(&id).await?;
        let audit = flow.store.audit(&ticket).await?;
        let members = match ticket.incident {
            Some(_) => flow.store.members(&id).await?,
            None => Vec::new(),
        };
        let issue = ticket
            .jira
            .key
            .as_deref()
            .and_then(|key| Some(flow.sinks.jira.as_ref()?.browse_link(key).to_string()));
        let shown = dashboard::TicketPage {
            ticket: &ticket,
            evidence: &evidence,
            audit: &audit,
            members: &members,
            issue_url: issue.as_deref(),
            visitor: self.visitor(caller),
            form_token: &caller.form_token,
            now,
        };
        Ok(page(StatusCode::OK, dashboard::ticket(&shown)))
    }

    /// Closes the chosen tickets, and leads back to the list. What is closed already, or gone, is as it should be.
    async fn close_all(
        &self,
        flow: &Flow,
        request: &Request,
        caller: &Caller,
        now: DateTime<Utc>,
    ) -> Response {
        let fields: Vec<(String, String)> = url::form_urlencoded::parse(&request.body)
            .into_owned()
            .collect();
        let values = |wanted: &'static str| {
            let fields = fields.iter().filter(move |(name, _)| name == wanted);
            fields.map(|(_, value)| value.as_str())
        };
        for id in values("id").filter_map(TicketId::parse).take(AT_ONCE) {
            let Some(event) = event_of("acknowledge", caller, &Words::default(), now) else {
                continue;
            };
            if let Err(UpdateError::Store(fault)) = flow.apply(&id, &event, now).await {
                return down_page(&fault);
            }
        }
        let back = access::page_of(values("back").next().unwrap_or_default());
        Response::empty(StatusCode::SEE_OTHER).with("location", back)
    }

    /// A form of the ticket page: back to the page afterwards.
    async fn form(
        &self,
        flow: &Flow,
        path: &str,
        request: &Request,
        caller: &Caller,
        now: DateTime<Utc>,
    ) -> Response {
        let fields: BTreeMap<String, String> = url::form_urlencoded::parse(&request.body)
            .into_owned()
            .collect();
        let field = |name: &str| fields.get(name).map(String::as_str);
        if !DashboardLock::may_change(caller, request, field("token")) {
            return Response::error(
                StatusCode::FORBIDDEN,
                "no_token",
                "the form's token is missing or wrong",
                "token",
            );
        }
        if path == "/dashboard/logout" {
            let out = Response::empty(StatusCode::SEE_OTHER)
                .with("location", "/dashboard")
                .with("cache-control", "no-store");
            return match self.doors.dashboard.cookie_for_nobody() {
                Some(cookie) => out.with("set-cookie", cookie),
                None => out,
            };
        }
        if path == "/dashboard/bulk/acknowledge" {
            return self.close_all(flow, request, caller, now).await;
        }
        if let Some(rest) = path.strip_prefix("/dashboard/silences") {
            let rest = rest.trim_start_matches('/');
            let field = |name: &str| fields.get(name).cloned();
            return self.silence_form(flow, rest, field, caller, now).await;
        }
        let Some((id, action)) = path
            .strip_prefix("/dashboard/tickets/")
            .and_then(|rest| rest.split_once('/'))
        else {
            return not_found();
        };
        let Some(id) = TicketId::parse(id) else {
            return not_found();
        };
        let back = format!("/dashboard?ticket={id}");
        let by = silences::actor(caller, None);
        if action == "silence" {
            let minutes = field("minutes").and_then(|minutes| minutes.parse().ok());
            let why = field("why").unwrap_or_default();
            let set = flow.silence_like(&id, minutes.unwrap_or(60), why, by, now);
            return silenced(set.await.map(drop), &back);
        }
        if action == "end-silence" {
            let silence = field("silence").unwrap_or_default();
            let ended = flow.end_silence_of(&id, silence, &by, now).await;
            return silenced(ended.map_err(NotSilenced::from), &back);
        }
        let words = Words {
            approval: field("approval"),
            plan: field("plan"),
            text: field("text"),
            category: field("category"),
        };
        let Some(event) = event_of(action, caller, &words, now) else {
            return not_found();
        };
        match flow.apply(&id, &event, now).await {
            Ok(_) => Response::empty(StatusCode::SEE_OTHER).with("location", back),
            Err(crate::ticket::store::UpdateError::Refused(why)) => page(
                StatusCode::CONFLICT,
                dashboard::message("Not possible any more", &why.to_string()),
            ),
            Err(crate::ticket::store::UpdateError::Store(fault)) => down_page(&fault),
            other => outcome(other),
        }
    }
}

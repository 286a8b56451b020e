//! The doors of dashboard and API: read tickets, acknowledge, reopen, answer approvals, metrics.
//!
//! Pages are rendered by `dashboard/`, which is pure; here only access, parameters and status codes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::json;
use warp::http::{Method, StatusCode};

use super::Handler;
use super::access::{self, DashboardLock, NoEntry, Visitor};
use super::events::outcome;
use super::wire::{Request, Response};
use crate::dashboard::{self, Filter};
use crate::fault::Fault;
use crate::flow::accept::{AcceptStatus, Accepted};
use crate::flow::{Flow, QUEUES};
use crate::storage::Trouble;
use crate::ticket::machine::Event;
use crate::ticket::store::{Newest, last_days};
use crate::ticket::{Actor, Channel, Status, Ticket, TicketId};

/// So many tickets are shown on a page of the overview, which counts all of them.
const ON_A_PAGE: usize = 2000;
/// So many are on a page of a list of the API or a CSV, if `limit` does not ask for fewer.
const IN_A_LIST: usize = 5000;
const HTML: &str = "text/html; charset=utf-8";
/// Nothing from elsewhere, no scripts at all, no frames.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Counters of this process, as `/api/metrics` shows them.
#[derive(Debug, Default)]
pub struct Counters {
    requests: Mutex<BTreeMap<(String, u16), (u64, Duration)>>,
    failures: Mutex<BTreeMap<(String, &'static str), u64>>,
    sweeps: std::sync::atomic::AtomicU64,
    refused: Mutex<BTreeMap<&'static str, u64>>,
    unwritable: Mutex<Option<Trouble>>,
}

impl Counters {
    pub(super) fn count(&self, door: &str, status: u16, took: Duration) {
        if let Ok(mut requests) = self.requests.lock() {
            let entry = requests.entry((door.to_owned(), status)).or_default();
            entry.0 += 1;
            entry.1 += took;
        }
    }

    pub(super) fn accepted(&self, accepted: &Accepted) {
        if let Ok(mut failures) = self.failures.lock() {
            for ticket in &accepted.tickets {
                let status = if ticket.status == AcceptStatus::Accepted {
                    "accepted"
                } else {
                    "duplicate"
                };
                *failures
                    .entry((ticket.source.to_string(), status))
                    .or_default() += 1;
            }
            if accepted.tickets.is_empty() {
                let status = if accepted.status == AcceptStatus::Pending {
                    "pending"
                } else {
                    "ignored"
                };
                *failures.entry(("any".to_owned(), status)).or_default() += 1;
            }
        }
    }

    /// How the last sweep of this process left the store.
    pub(super) fn wrote(&self, trouble: Option<Trouble>) {
        if let Ok(mut unwritable) = self.unwritable.lock() {
            *unwritable = trouble;
        }
    }

    /// What kept the last sweep of this process from writing.
    pub(super) fn unwritable(&self) -> Option<Trouble> {
        self.unwritable.lock().map_or(None, |trouble| *trouble)
    }

    pub(super) fn swept(&self) {
        self.sweeps
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }

    /// One more try with a wrong credential; how many there were.
    pub(super) fn refused(&self, door: &'static str) -> u64 {
        self.refused.lock().map_or(0, |mut refused| {
            let count = refused.entry(door).or_default();
            *count += 1;
            *count
        })
    }

    /// What this process has counted, as Prometheus text.
    pub(super) fn counted(&self) -> String {
        let mut text = String::new();
        text.push_str("# TYPE aiops_rca_requests_total counter\n# TYPE aiops_rca_request_seconds_total counter\n");
        if let Ok(requests) = self.requests.lock() {
            for ((door, status), (count, took)) in requests.iter() {
                let _infallible = writeln!(
                    text,
                    "aiops_rca_requests_total{{door=\"{door}\",status=\"{status}\"}} {count}"
                );
                let _infallible = writeln!(
                    text,
                    "aiops_rca_request_seconds_total{{door=\"{door}\",status=\"{status}\"}} {:.6}",
                    took.as_secs_f64()
                );
            }
        }
        text.push_str("# TYPE aiops_rca_failures_total counter\n");
        if let Ok(failures) = self.failures.lock() {
            for ((source, status), count) in failures.iter() {
                let _infallible = writeln!(
                    text,
                    "aiops_rca_failures_total{{source=\"{source}\",status=\"{status}\"}} {count}"
                );
            }
        }
        text.push_str("# TYPE aiops_rca_refused_total counter\n");
        if let Ok(refused) = self.refused.lock() {
            for (door, count) in refused.iter() {
                let _infallible =
                    writeln!(text, "aiops_rca_refused_total{{door=\"{door}\"}} {count}");
            }
        }
        let sweeps = self.sweeps.load(std::sync::atomic::Ordering::Relaxed);
        let _infallible = write!(
            text,
            "# TYPE aiops_rca_sweeps_total counter\naiops_rca_sweeps_total {sweeps}\n"
        );
        text
    }
}

/// What the store says of queues and tickets, as Prometheus text.
fn stored(depths: &[(&str, u64)], open: usize, problems: usize) -> String {
    let mut text = String::from("# TYPE aiops_rca_queue_messages gauge\n");
    for (queue, depth) in depths {
        let _infallible = writeln!(
            text,
            "aiops_rca_queue_messages{{queue=\"{queue}\"}} {depth}"
        );
    }
    let _infallible = write!(
        text,
        "# TYPE aiops_rca_tickets_active gauge\naiops_rca_tickets_active {open}\n# TYPE aiops_rca_problems gauge\naiops_rca_problems {problems}\n"
    );
    text
}

fn page(status: StatusCode, markup: maud::Markup) -> Response {
    Response::text(status, HTML, markup.into_string())
        .with("content-security-policy", POLICY)
        .with("referrer-policy", "same-origin")
        .with("cache-control", "no-store")
}

/// The page a request is for, with its parameters.
fn asked_for(request: &Request) -> String {
    if request.query.is_empty() {
        return request.path.clone();
    }
    format!("{}?{}", request.path, request.query)
}

/// The ticket after which a page of a list begins, if it is not the first page.
async fn before(flow: &Flow, request: &Request) -> Result<Option<Ticket>, Fault> {
    match request
        .parameter("before")
        .as_deref()
        .and_then(TicketId::parse)
    {
        Some(id) => flow.store.load(&id).await,
        None => Ok(None),
    }
}

/// The same list from the ticket on that is the last of these.
fn next_page(request: &Request, tickets: &[Ticket]) -> Option<String> {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for name in Filter::PARAMETERS.into_iter().chain(["limit"]) {
        if let Some(value) = request.parameter(name) {
            query.append_pair(name, &value);
        }
    }
    query.append_pair("before", tickets.last()?.id.as_str());
    Some(format!("{}?{}", request.path, query.finish()))
}

fn not_found() -> Response {
    Response::error(
        StatusCode::NOT_FOUND,
        "unknown_ticket",
        "there is no such ticket",
        "",
    )
}

fn down(fault: &Fault) -> Response {
    let trouble = Trouble::of(fault);
    tracing::error!(reason = fault.reason(), "the store did not serve a reader");
    if trouble == Trouble::Unreadable {
        return Response::error(
            StatusCode::INTERNAL_SERVER_ERROR,
            trouble.code(),
            trouble.sentence(),
            "",
        );
    }
    Response::error(
        StatusCode::SERVICE_UNAVAILABLE,
        trouble.code(),
        trouble.sentence(),
        "",
    )
    .with("retry-after", "10")
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
        let visitor = match self.doors.dashboard.enter(request, now) {
            Ok(visitor) => visitor,
            Err(NoEntry::Closed) => {
                return page(
                    StatusCode::SERVICE_UNAVAILABLE,
                    dashboard::message(
                        "The dashboard is closed",
                        "Set DASHBOARD_AUTH=entra, or DASHBOARD_KEY.",
                    ),
                );
            }
            Err(NoEntry::Unknown) if matches!(self.doors.dashboard, DashboardLock::Key { .. }) => {
                return page(
                    StatusCode::UNAUTHORIZED,
                    dashboard::login(false, &access::page_of(&asked_for(request))),
                );
            }
            Err(NoEntry::Unknown) if request.method == Method::GET => {
                return Response::empty(StatusCode::FOUND)
                    .with("location", access::entra_sign_in(&asked_for(request)))
                    .with("cache-control", "no-store");
            }
            Err(NoEntry::Unknown) => {
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
            return self.form(flow, path, request, &visitor, now).await;
        }
        let shown = match request
            .parameter("ticket")
            .or_else(|| path.strip_prefix("/dashboard/tickets/").map(str::to_owned))
        {
            Some(id) => self.ticket_page(flow, &id, &visitor, now).await,
            None if path == "/dashboard" => self.overview(flow, request, &visitor, now).await,
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
        match field("key").and_then(|given| self.doors.dashboard.cookie_for(given.trim(), now)) {
            Some(cookie) => Response::empty(StatusCode::SEE_OTHER)
                .with("location", next)
                .with("set-cookie", cookie)
                .with("cache-control", "no-store"),
            None => page(StatusCode::UNAUTHORIZED, dashboard::login(true, &next)),
        }
    }

    async fn overview(
        &self,
        flow: &Flow,
        request: &Request,
        visitor: &Visitor,
        now: DateTime<Utc>,
    ) -> Result<Response, Fault> {
        let filter = Filter::from_parameters(|name| request.parameter(name));
        let mut newest = Newest::new(ON_A_PAGE, before(flow, request).await?.as_ref());
        let mut counts = dashboard::Counts::default();
        for day in last_days(now, filter.days) {
            let each = |ticket: Ticket| {
                counts.add(&ticket);
                if filter.shows(&ticket) {
                    newest.offer(ticket);
                }
            };
            flow.store.each_of_day(&day, each).await?;
        }
        let (tickets, cut) = newest.finish();
        let dead_letters = flow.store.dead_letters().await?;
        let mut outages = flow.store.outages().await?;
        outages.retain(|(_, outage)| outage.lasts(now));
        let mut problems = self.problems();
        problems.extend(self.unwritten(flow, now).await?);
        let keys = tickets
            .iter()
            .filter_map(|ticket| ticket.jira.key.as_deref());
        let issue_urls = flow.sinks.jira.iter().flat_map(|jira| {
            keys.clone()
                .map(|key| (key, jira.browse_link(key).to_string()))
        });
        let overview = dashboard::Overview {
            tickets: &tickets,
            counts: &counts,
            older: next_page(request, &tickets).filter(|_| cut),
            filter: &filter,
            problems: &problems,
            outages: &outages,
            dead_letters: &dead_letters,
            issue_urls: &issue_urls.collect(),
            visitor: &visitor.name,
            now,
        };
        Ok(page(StatusCode::OK, dashboard::overview(&overview)))
    }

    async fn ticket_page(
        &self,
        flow: &Flow,
        id: &str,
        visitor: &Visitor,
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
        let issue = ticket
            .jira
            .key
            .as_deref()
            .and_then(|key| Some(flow.sinks.jira.as_ref()?.browse_link(key).to_string()));
        let shown = dashboard::TicketPage {
            ticket: &ticket,
            evidence: &evidence,
            audit: &audit,
            issue_url: issue.as_deref(),
            visitor: &visitor.name,
            form_token: &visitor.form_token,
            now,
        };
        Ok(page(StatusCode::OK, dashboard::ticket(&shown)))
    }

    /// A form of the ticket page: back to the page afterwards.
    async fn form(
        &self,
        flow: &Flow,
        path: &str,
        request: &Request,
        visitor: &Visitor,
        now: DateTime<Utc>,
    ) -> Response {
        let fields: BTreeMap<String, String> = url::form_urlencoded::parse(&request.body)
            .into_owned()
            .collect();
        let field = |name: &str| fields.get(name).map(String::as_str);
        if !DashboardLock::may_change(visitor, request, field("token")) {
            return Response::error(
                StatusCode::FORBIDDEN,
                "no_token",
                "the form's token is missing or wrong",
                "token",
            );
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
        let Some(event) = event_of(action, visitor, field("approval"), field("plan"), now) else {
            return not_found();
        };
        match flow.apply(&id, &event, now).await {
            Ok(_) => Response::empty(StatusCode::SEE_OTHER)
                .with("location", format!("/dashboard?ticket={id}")),
            Err(crate::ticket::store::UpdateError::Refused(why)) => page(
                StatusCode::CONFLICT,
                dashboard::message("Not possible any more", &why.to_string()),
            ),
            Err(crate::ticket::store::UpdateError::Store(fault)) => down_page(&fault),
            other => outcome(other),
        }
    }

    /// Answers of the API are of this moment and for this caller: nobody keeps them.
    pub(super) async fn api(&self, path: &str, request: &Request, now: DateTime<Utc>) -> Response {
        self.api_answer(path, request, now)
            .await
            .with("cache-control", "no-store")
    }

    async fn api_answer(&self, path: &str, request: &Request, now: DateTime<Utc>) -> Response {
        let visitor = match self.doors.dashboard.enter(request, now) {
            Ok(visitor) => visitor,
            Err(NoEntry::Closed) => {
                return Response::error(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "door_closed",
                    "this door opens when DASHBOARD_AUTH or DASHBOARD_KEY is set",
                    "",
                );
            }
            Err(NoEntry::Unknown) => {
                return Response::error(
                    StatusCode::UNAUTHORIZED,
                    "not_allowed",
                    "send the dashboard key in x-dashboard-key",
                    "",
                );
            }
        };
        let parts: Vec<&str> = path
            .strip_prefix("/api")
            .unwrap_or(path)
            .trim_matches('/')
            .split('/')
            .collect();
        // It answers while the store does not.
        if request.method == Method::GET && parts == ["status"] {
            return self.status(now).await;
        }
        let flow = match self.flow().await {
            Ok(flow) => flow,
            Err(fault) => return down(&fault),
        };
        let answer =
            match (request.method.as_str(), parts.as_slice()) {
                ("GET", ["tickets"]) => self.list(flow, request, now, false).await,
                ("GET", ["tickets.csv"]) => self.list(flow, request, now, true).await,
                ("GET", ["tickets", id]) => self.one(flow, id).await,
                ("GET", ["deadletters"]) => flow.store.dead_letters().await.map(|letters| {
                    Response::json(StatusCode::OK, &json!({"dead_letters": letters}))
                }),
                ("GET", ["metrics"]) => self.metrics_text(flow, request).await,
                ("POST", ["tickets", id, action]) => {
                    return self.act(flow, id, action, request, &visitor, now).await;
                }
                _ => {
                    return Response::error(
                        StatusCode::NOT_FOUND,
                        "no_such_route",
                        "there is nothing here",
                        "",
                    );
                }
            };
        answer.unwrap_or_else(|fault| down(&fault))
    }

    async fn list(
        &self,
        flow: &Flow,
        request: &Request,
        now: DateTime<Utc>,
        csv: bool,
    ) -> Result<Response, Fault> {
        let filter = Filter::from_parameters(|name| request.parameter(name));
        let limit: Option<usize> = request
            .parameter("limit")
            .and_then(|limit| limit.parse().ok());
        let limit = limit.map_or(IN_A_LIST, |limit| limit.clamp(1, IN_A_LIST));
        let mut newest = Newest::new(limit, before(flow, request).await?.as_ref());
        for day in last_days(now, filter.days) {
            let each = |ticket: Ticket| {
                if filter.shows(&ticket) {
                    newest.offer(ticket);
                }
            };
            flow.store.each_of_day(&day, each).await?;
            if newest.is_full() {
                break;
            }
        }
        let (tickets, cut) = newest.finish();
        let next = next_page(request, &tickets).filter(|_| cut);
        if csv {
            let table = Response::text(
                StatusCode::OK,
                "text/csv; charset=utf-8",
                dashboard::csv(&tickets),
            )
            .with(
                "content-disposition",
                "attachment; filename=\"tickets.csv\"",
            );
            return Ok(match next {
                Some(next) => table
                    .with("x-truncated-after", limit.to_string())
                    .with("link", format!("<{next}>; rel=\"next\"")),
                None => table,
            });
        }
        let items: Vec<_> = tickets.iter().map(dashboard::summary).collect();
        Ok(Response::json(
            StatusCode::OK,
            &json!({"tickets": items, "truncated": cut, "next": next}),
        ))
    }

    async fn one(&self, flow: &Flow, id: &str) -> Result<Response, Fault> {
        let Some(id) = TicketId::parse(id) else {
            return Ok(not_found());
        };
        let Some(ticket) = flow.store.load(&id).await? else {
            if flow.store.waiting(&id).await?.is_some() {
                return Ok(Response::json(
                    StatusCode::OK,
                    &json!({"id": id, "status": "pending"}),
                ));
            }
            return Ok(not_found());
        };
        let (evidence, audit) = (
            flow.store.evidence(&id).await?,
            flow.store.audit(&ticket).await?,
        );
        Ok(Response::json(
            StatusCode::OK,
            &dashboard::details(&ticket, &evidence, &audit),
        ))
    }

    async fn act(
        &self,
        flow: &Flow,
        id: &str,
        action: &str,
        request: &Request,
        visitor: &Visitor,
        now: DateTime<Utc>,
    ) -> Response {
        #[derive(serde::Deserialize, Default)]
        struct Body {
            by: Option<String>,
            approval: Option<String>,
            plan: Option<String>,
        }
        // On this machine a plain call will do, unless it comes out of a page of some site.
        let plain = self.doors.dashboard.is_open() && request.header("origin").is_none();
        if !plain && !DashboardLock::may_change(visitor, request, None) {
            return Response::error(
                StatusCode::FORBIDDEN,
                "no_token",
                "send the key in x-dashboard-key, or a JSON body",
                "",
            );
        }
        let body = if request.body.is_empty() {
            Body::default()
        } else {
            match serde_json::from_slice(&request.body) {
                Ok(body) => body,
                Err(_) => {
                    return Response::error(
                        StatusCode::BAD_REQUEST,
                        "not_json",
                        "the body is not the JSON that is expected here",
                        "",
                    );
                }
            }
        };
        let Some(id) = TicketId::parse(id) else {
            return not_found();
        };
        let mut visitor = visitor.clone();
        // Whoever signed in speaks for himself only.
        if let Some(by) = body
            .by
            .filter(|by| !visitor.is_known && !by.trim().is_empty())
        {
            visitor.name = crate::redaction::cap(&crate::redaction::redact(by.trim()), 120);
        }
        match event_of(
            action,
            &visitor,
            body.approval.as_deref(),
            body.plan.as_deref(),
            now,
        ) {
            Some(event) => outcome(flow.apply(&id, &event, now).await),
            None => Response::error(
                StatusCode::NOT_FOUND,
                "no_such_action",
                "a ticket can be acknowledged, reopened, started, approved or rejected",
                "",
            ),
        }
    }

    /// What `/health` answers, with everything that somebody has to correct.
    async fn status(&self, now: DateTime<Utc>) -> Response {
        let trouble = self.store_trouble(now).await;
        let word = if self.is_called() && trouble.is_none() {
            "ok"
        } else {
            "degraded"
        };
        let mut problems = self.problems();
        problems.extend(trouble);
        Response::json(
            StatusCode::OK,
            &json!({"status": word, "problems": problems}),
        )
    }

    async fn metrics_text(&self, flow: &Flow, request: &Request) -> Result<Response, Fault> {
        let mut depths = Vec::new();
        for queue in QUEUES {
            depths.push((queue, flow.store.storage().depth(queue).await?));
        }
        let (mut open, mut after) = (0, None);
        loop {
            let (rows, next) = flow.store.active(1000, after.as_ref()).await?;
            open += rows.len();
            after = next;
            if after.is_none() {
                break;
            }
        }
        // The reader counts nothing: the handler sends what it has counted.
        let mut text = if self.is_reader {
            String::from_utf8_lossy(&request.body).into_owned()
        } else {
            self.metrics.counted()
        };
        text.push_str(&stored(&depths, open, self.problems().len()));
        Ok(Response::text(
            StatusCode::OK,
            "text/plain; version=0.0.4; charset=utf-8",
            text,
        ))
    }
}

/// What a person may do to a ticket here.
fn event_of(
    action: &str,
    visitor: &Visitor,
    approval: Option<&str>,
    plan: Option<&str>,
    now: DateTime<Utc>,
) -> Option<Event> {
    let by = Actor {
        channel: Channel::Dashboard,
        name: visitor.name.clone(),
    };
    let status = |to| {
        Some(Event::StatusChanged {
            to,
            by: by.clone(),
            at: now,
            jira_status: None,
        })
    };
    match action {
        "acknowledge" => status(Status::Acknowledged),
        "start" => status(Status::InProgress),
        "reopen" => status(Status::Open),
        "approve" | "reject" => Some(Event::ApprovalAnswered {
            approval: approval?.to_owned(),
            plan: plan?.to_owned(),
            approved: action == "approve",
            by,
        }),
        _ => None,
    }
}

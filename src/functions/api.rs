//! The API's door: tickets as JSON and CSV, changes to them, dead letters, status.

use chrono::{DateTime, Utc};
use serde_json::json;
use warp::http::StatusCode;

use super::Handler;
use super::access::{AuthError, Caller, DashboardLock};
use super::events::{self, outcome};
use super::routes::{DOCUMENT, Route};
use super::silences;
use super::wire::{Request, Response};
use crate::dashboard::{self, Filter};
use crate::fault::Fault;
use crate::flow::Flow;
use crate::redaction::{cap, redact};
use crate::storage::Trouble;
use crate::ticket::machine::Event;
use crate::ticket::store::Listed;
use crate::ticket::{Actor, Channel, Status, TicketId};

/// How many a page of a list or a CSV has, if `limit` does not ask for fewer.
const IN_A_LIST: usize = 5000;
/// The same for incidents, which come with their tickets.
const INCIDENTS: usize = 500;

impl Handler {
    /// Answers of the API are of this moment and for this caller: nobody keeps them.
    pub(super) async fn api(&self, path: &str, request: &Request, now: DateTime<Utc>) -> Response {
        self.api_answer(path, request, now)
            .await
            .with("cache-control", "no-store")
    }

    async fn api_answer(&self, path: &str, request: &Request, now: DateTime<Utc>) -> Response {
        let caller = match self.doors.dashboard.authenticate(request, now) {
            Ok(caller) => caller,
            Err(AuthError::Closed) => {
                return Response::error(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "door_closed",
                    "this door opens when DASHBOARD_AUTH or DASHBOARD_KEY is set",
                    "",
                );
            }
            Err(AuthError::Unknown) => {
                return Response::error(
                    StatusCode::UNAUTHORIZED,
                    "not_allowed",
                    "send the dashboard key in x-dashboard-key",
                    "",
                );
            }
        };
        let (route, given) = match Route::find(request.method.as_str(), path) {
            Ok(found) => found,
            Err(methods) if methods.is_empty() => {
                return Response::error(
                    StatusCode::NOT_FOUND,
                    "no_such_route",
                    "there is nothing here; GET /api/openapi.json lists what there is",
                    "",
                );
            }
            Err(methods) => {
                return Response::error(
                    StatusCode::METHOD_NOT_ALLOWED,
                    "method_not_allowed",
                    "this path takes another method: see the header allow",
                    "",
                )
                .with("allow", methods.join(", "));
            }
        };
        // These answer while the store does not.
        if route == Route::Status {
            return self.status(now).await;
        }
        if route == Route::OpenApi {
            return Response::text(StatusCode::OK, "application/json", DOCUMENT.to_owned());
        }
        let flow = match self.flow().await {
            Ok(flow) => flow,
            Err(fault) => return down(&fault),
        };
        let answer =
            match (route, given.as_slice()) {
                (Route::Tickets, _) => self.list(flow, request, now, false).await,
                (Route::TicketsCsv | Route::IncidentsCsv, _) => {
                    self.list(flow, request, now, true).await
                }
                (Route::Ticket, [id]) => self.one(flow, id).await,
                (Route::Incidents, _) => self.incidents(flow, request, now).await,
                (Route::Incident, [id]) => self.one_incident(flow, id).await,
                (Route::Owners, _) => owned(flow, request, now).await.map(|(owned, _)| {
                    Response::json(StatusCode::OK, &dashboard::owners_as_json(&owned))
                }),
                (Route::Silences, _) => silences::list(flow, now).await,
                (Route::SetSilence, _) => match self.refuse_change(request, &caller) {
                    Some(refused) => Ok(refused),
                    None => silences::set(flow, &request.body, &caller, now).await,
                },
                (Route::EndSilence, [id]) => {
                    if let Some(refused) = self.refuse_change(request, &caller) {
                        Ok(refused)
                    } else {
                        let by = silences::actor(&caller, request.parameter("by").as_deref());
                        silences::end(flow, id, &by, now).await
                    }
                }
                (Route::DeadLetters, _) => flow.store.dead_letters().await.map(|letters| {
                    Response::json(StatusCode::OK, &json!({"dead_letters": letters}))
                }),
                (Route::Scopes, _) => flow.watches().await.map(|watches| {
                    let body = dashboard::scopes_as_json(&watches, flow.patrol.on);
                    Response::json(StatusCode::OK, &body)
                }),
                (Route::Summary, _) => self.summary(flow, request, now).await,
                (Route::Metrics, _) => self.metrics_text(flow).await,
                (Route::Change | Route::IncidentChange, [id, action]) => {
                    return self.act(flow, id, action, request, &caller, now).await;
                }
                (
                    Route::Ticket
                    | Route::Incident
                    | Route::Change
                    | Route::IncidentChange
                    | Route::EndSilence
                    | Route::Status
                    | Route::OpenApi,
                    _,
                ) => Ok(not_found()),
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
        let mut filter = Filter::from_parameters(|name| request.parameter(name));
        let of_incidents = request.path.ends_with("/incidents.csv");
        if of_incidents {
            filter = filter.of_incidents();
        }
        let limit = limit(request, IN_A_LIST);
        let before = before(request);
        let shows = |ticket: &Listed| filter.shows(ticket);
        let (tickets, cut) = flow
            .store
            .list(now, filter.days, before.as_ref(), limit, shows)
            .await?;
        let next = next_page(request, &tickets).filter(|_| cut);
        if csv {
            let table = Response::text(
                StatusCode::OK,
                "text/csv; charset=utf-8",
                dashboard::csv(&tickets),
            )
            .with(
                "content-disposition",
                if of_incidents {
                    "attachment; filename=\"incidents.csv\""
                } else {
                    "attachment; filename=\"tickets.csv\""
                },
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
            &json!({"tickets": items, "truncated": cut, "next": next, "ignored": ignored(&filter, request)}),
        ))
    }

    /// Numbers of the last days, and of each of them.
    async fn summary(
        &self,
        flow: &Flow,
        request: &Request,
        now: DateTime<Utc>,
    ) -> Result<Response, Fault> {
        let filter = Filter::from_parameters(|name| request.parameter(name));
        let summary = flow.store.summary(now, filter.days).await?;
        let mut body = dashboard::summary_as_json(&summary);
        let days = filter.unknown.iter().filter(|(name, _)| *name == "days");
        let ignored: Vec<&str> = days.map(|(name, _)| *name).collect();
        if let Some(fields) = body.as_object_mut() {
            fields.insert("ignored".to_owned(), json!(ignored));
        }
        Ok(Response::json(StatusCode::OK, &body))
    }

    /// Incidents, newest first, each with its tickets.
    async fn incidents(
        &self,
        flow: &Flow,
        request: &Request,
        now: DateTime<Utc>,
    ) -> Result<Response, Fault> {
        let filter = Filter::from_parameters(|name| request.parameter(name)).of_incidents();
        let (before, limit) = (before(request), limit(request, INCIDENTS));
        let shows = |ticket: &Listed| filter.shows(ticket);
        let list = flow
            .store
            .list(now, filter.days, before.as_ref(), limit, shows);
        let (leaders, cut) = list.await?;
        let next = next_page(request, &leaders).filter(|_| cut);
        let mut items = Vec::new();
        for leader in &leaders {
            let members = match leader.tickets {
                0 | 1 => Vec::new(),
                _ => flow.store.members(&leader.id).await?,
            };
            items.push(dashboard::incident(leader, &members));
        }
        Ok(Response::json(
            StatusCode::OK,
            &json!({"incidents": items, "truncated": cut, "next": next, "ignored": ignored(&filter, request)}),
        ))
    }

    /// The incident that this ticket leads or is part of.
    async fn one_incident(&self, flow: &Flow, id: &str) -> Result<Response, Fault> {
        let Some(id) = TicketId::parse(id) else {
            return Ok(not_found());
        };
        let Some(mut leader) = flow.store.load(&id).await? else {
            return self.one(flow, id.as_str()).await;
        };
        if leader.is_follower()
            && let Some(found) = flow.store.load(leader.leader()).await?
        {
            leader = found;
        }
        let members = flow.store.members(&leader.id).await?;
        let mut shown = dashboard::incident(&Listed::of(&leader), &members);
        if let Some(fields) = shown.as_object_mut() {
            let incident = leader.incident.as_ref();
            let path = incident.map(|incident| &incident.path);
            fields.insert("path".to_owned(), json!(path));
            let cause = incident.and_then(|incident| incident.cause.as_ref());
            fields.insert(
                "cause_of".to_owned(),
                json!(cause.map(|cause| &cause.ticket)),
            );
            let asked = incident.filter(|incident| !incident.questions.is_empty());
            fields.insert(
                "approval".to_owned(),
                json!(asked.map(|incident| json!({
                    "id": leader.incident_approval(), "plan": incident.plans(), "questions": incident.questions,
                }))),
            );
            let words = cause.map_or(&leader.diagnosis, |cause| &cause.diagnosis);
            fields.insert("root_cause".to_owned(), json!(words.root_cause));
        }
        Ok(Response::json(StatusCode::OK, &shown))
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

    /// Why this caller may change nothing, if that is so.
    fn refuse_change(&self, request: &Request, caller: &Caller) -> Option<Response> {
        // On this machine a plain call will do, unless it comes out of a page of some site.
        let plain = self.doors.dashboard.is_open() && request.header("origin").is_none();
        (!plain && !DashboardLock::may_change(caller, request, None)).then(|| {
            Response::error(
                StatusCode::FORBIDDEN,
                "no_token",
                "send the key in x-dashboard-key, or a JSON body",
                "",
            )
        })
    }

    async fn act(
        &self,
        flow: &Flow,
        id: &str,
        action: &str,
        request: &Request,
        caller: &Caller,
        now: DateTime<Utc>,
    ) -> Response {
        #[derive(serde::Deserialize, Default)]
        struct Body {
            by: Option<String>,
            approval: Option<String>,
            plan: Option<String>,
            text: Option<String>,
            category: Option<String>,
        }
        if let Some(refused) = self.refuse_change(request, caller) {
            return refused;
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
        // An answer belongs to one question, and to the plan that was shown with it.
        if matches!(action, "approve" | "reject") {
            for (name, given) in [("approval", &body.approval), ("plan", &body.plan)] {
                if given.is_none() {
                    return Response::error(
                        StatusCode::BAD_REQUEST,
                        "missing_field",
                        "the body names what is answered: approval and plan, as the ticket's remediation.approval has them",
                        name,
                    );
                }
            }
        }
        let needed: &[(&str, &Option<String>)] = match action {
            "comment" => &[("text", &body.text)],
            "correct" => &[("category", &body.category)],
            _ => &[],
        };
        for (name, given) in needed {
            if given.as_ref().is_none_or(|given| given.trim().is_empty()) {
                return Response::error(
                    StatusCode::BAD_REQUEST,
                    "missing_field",
                    "the body says what is said: text, or category with a text of one line",
                    name,
                );
            }
        }
        let category = body.category.as_deref().map(dashboard::category);
        if action == "correct" && category == Some(None) {
            return Response::error(
                StatusCode::BAD_REQUEST,
                "no_such_category",
                "there is no such category of causes; the list is in /api/openapi.json",
                "category",
            );
        }
        let mut caller = caller.clone();
        // A signed-in person acts in their own name only.
        if let Some(by) = body
            .by
            .filter(|by| !caller.is_known && !by.trim().is_empty())
        {
            caller.name = cap(&redact(by.trim()), 120);
        }
        let words = Words {
            approval: body.approval.as_deref(),
            plan: body.plan.as_deref(),
            text: body.text.as_deref(),
            category: body.category.as_deref(),
        };
        match event_of(action, &caller, &words, now) {
            Some(event) => outcome(flow.apply(&id, &event, now).await),
            None => Response::error(
                StatusCode::NOT_FOUND,
                "no_such_action",
                "a ticket can be acknowledged, reopened, started, approved, rejected, commented or corrected",
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
}

/// What failed of each owner in the days that the request names, and how many these are.
pub(super) async fn owned(
    flow: &Flow,
    request: &Request,
    now: DateTime<Utc>,
) -> Result<(dashboard::Owned, u32), Fault> {
    let days = Filter::from_parameters(|name| request.parameter(name)).days;
    let list = flow.store.list(now, days, None, IN_A_LIST, |_| true);
    let (tickets, cut) = list.await?;
    Ok((dashboard::Owned::of(&tickets, cut), days))
}

/// Parameters whose values cannot be read: they filter nothing, and are said.
fn ignored(filter: &Filter, request: &Request) -> Vec<&'static str> {
    type Reads = fn(&str) -> bool;
    let wrong = |name: &str, reads: Reads| {
        request
            .parameter(name)
            .is_some_and(|value| !value.is_empty() && !reads(&value))
    };
    let readers: [(&'static str, Reads); 2] = [
        ("limit", |value| value.parse::<usize>().is_ok()),
        ("before", |value| TicketId::parse(value).is_some()),
    ];
    let unread = readers
        .into_iter()
        .filter(|(name, reads)| wrong(name, *reads))
        .map(|(name, _)| name);
    let unknown = filter.unknown.iter().map(|(name, _)| *name);
    unknown.chain(unread).collect()
}

/// How many the request asks for.
fn limit(request: &Request, most: usize) -> usize {
    let limit = request
        .parameter("limit")
        .and_then(|limit| limit.parse().ok());
    limit.map_or(most, |limit: usize| limit.clamp(1, most))
}

/// The ticket after which a page of a list begins, if it is not the first page.
pub(super) fn before(request: &Request) -> Option<TicketId> {
    TicketId::parse(&request.parameter("before")?)
}

/// The same list from the ticket on that is the last of these.
fn next_page(request: &Request, tickets: &[Listed]) -> Option<String> {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for name in Filter::PARAMETERS.into_iter().chain(["limit"]) {
        if let Some(value) = request.parameter(name) {
            query.append_pair(name, &value);
        }
    }
    query.append_pair("before", tickets.last()?.id.as_str());
    Some(format!("{}?{}", request.path, query.finish()))
}

pub(super) fn not_found() -> Response {
    Response::error(
        StatusCode::NOT_FOUND,
        "unknown_ticket",
        "there is no such ticket",
        "",
    )
}

pub(super) fn down(fault: &Fault) -> Response {
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

/// What a person says with an action.
#[derive(Debug, Default)]
pub(super) struct Words<'a> {
    pub(super) approval: Option<&'a str>,
    pub(super) plan: Option<&'a str>,
    pub(super) text: Option<&'a str>,
    pub(super) category: Option<&'a str>,
}

/// What a person may do to a ticket here.
pub(super) fn event_of(
    action: &str,
    caller: &Caller,
    words: &Words<'_>,
    now: DateTime<Utc>,
) -> Option<Event> {
    let said = |text: &str| redact(&cap(text.trim(), 4000));
    let by = Actor {
        channel: Channel::Dashboard,
        name: caller.name.clone(),
    };
    let status = |to| Some(events::status(to, by.clone(), now));
    match action {
        "acknowledge" => status(Status::Acknowledged),
        "start" => status(Status::InProgress),
        "reopen" => status(Status::Open),
        "approve" | "reject" => Some(Event::ApprovalAnswered {
            approval: words.approval?.to_owned(),
            plan: words.plan?.to_owned(),
            approved: action == "approve",
            by,
        }),
        "comment" => Some(Event::Commented {
            text: said(words.text?),
            by,
        }),
        "correct" => Some(Event::Corrected {
            category: dashboard::category(words.category?)?,
            line: said(words.text.unwrap_or_default()),
            by,
        }),
        _ => None,
    }
}

//! What the team keeps, and the Bot Connector's and Graph's answers from it.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::{Value, json};

use super::{BotMessage, BotOptions};
use crate::teams::{CARD, rules};
use crate::{Answer, Request};

/// Posts into one conversation: so many within so many seconds.
const LIMITS: [(usize, i64); 4] = [(7, 1), (8, 2), (60, 30), (1800, 3600)];
/// Bytes of an activity, as the page on cards says.
const SIZE: usize = 40 * 1024;
const PAGE: usize = 50;

#[derive(Debug)]
pub(super) struct State {
    pub(super) options: BotOptions,
    pub(super) base: String,
    pub(super) messages: Vec<BotMessage>,
    pub(super) said: Option<String>,
    /// Posts by conversation.
    posted: Vec<(String, DateTime<Utc>)>,
    last_id: i64,
}

impl State {
    pub(super) fn new(options: BotOptions) -> Self {
        Self {
            options,
            base: String::new(),
            messages: Vec::new(),
            said: None,
            posted: Vec::new(),
            last_id: 0,
        }
    }

    /// A call of the Bot Connector below `/v3/conversations`.
    pub(super) fn connector(&mut self, request: &Request, path: &[&str]) -> Answer {
        if !request.is_authorized_by("Bearer token-for-https://api.botframework.com") {
            return refused(
                401,
                "Unauthorized",
                "Authorization has been denied for this request.",
            );
        }
        // Ids hold characters that have a meaning in paths.
        if request.path.contains([';', '@']) {
            return refused(400, "BadArgument", "The ids of the path are not encoded.");
        }
        match (request.method.as_str(), path) {
            ("POST", []) => self.create(&request.json()),
            ("POST", [conversation, "activities"]) => self.reply(conversation, &request.json()),
            ("PUT", [conversation, "activities", id]) => {
                self.update(conversation, id, &request.json())
            }
            _ => Answer::not_modelled(request),
        }
    }

    fn create(&mut self, body: &Value) -> Answer {
        let text = |path: &str| {
            body.pointer(path)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        if body.get("isGroup") != Some(&Value::Bool(true)) {
            return refused(400, "BadSyntax", "Only threads of channels are begun here.");
        }
        if text("/channelData/tenant/id") != self.options.tenant {
            return refused(403, "Forbidden", "The bot is not of this tenant.");
        }
        let channel = text("/channelData/channel/id").to_owned();
        if self.team_of(&channel).is_none() {
            return refused(404, "ConversationNotFound", "Conversation not found.");
        }
        let activity = body.get("activity").unwrap_or(&Value::Null);
        let posted = self.post((&channel, &channel), None, activity);
        match posted {
            Ok(id) => {
                let conversation = format!("{channel};messageid={id}");
                Answer::json(201, &json!({"id": conversation, "activityId": id}))
            }
            Err(answer) => answer,
        }
    }

    fn reply(&mut self, conversation: &str, activity: &Value) -> Answer {
        let Some(root) = self.root(conversation) else {
            return refused(404, "ConversationNotFound", "Conversation not found.");
        };
        let (channel, _) = conversation.split_once(';').unwrap_or_default();
        match self.post((conversation, channel), Some(root), activity) {
            Ok(id) => Answer::json(201, &json!({"id": id})),
            Err(answer) => answer,
        }
    }

    /// The group of the team of a channel, if the app is there.
    fn team_of(&self, channel: &str) -> Option<&str> {
        let further = self.options.channels.iter();
        let mut further = further.map(|(team, id)| (team.as_str(), id.as_str()));
        if channel == self.options.channel {
            return Some(&self.options.team);
        }
        further.find(|(_, id)| *id == channel).map(|(team, _)| team)
    }

    /// The message that begins this conversation, if it is there.
    fn root(&self, conversation: &str) -> Option<String> {
        let (channel, root) = conversation.split_once(";messageid=")?;
        let is = |message: &&BotMessage| {
            message.id == root && message.root.is_none() && message.channel == channel
        };
        Some(self.messages.iter().find(is)?.id.clone())
    }

    fn update(&mut self, conversation: &str, id: &str, activity: &Value) -> Answer {
        if let Err(answer) = self.admitted() {
            return answer;
        }
        let channel = conversation
            .split_once(";messageid=")
            .map(|(channel, _)| channel);
        let (summary, card) = match read(activity) {
            Ok(read) => read,
            Err(answer) => return answer,
        };
        let message = self.messages.iter_mut().find(|message| message.id == id);
        match message.filter(|message| Some(message.channel.as_str()) == channel) {
            Some(message) => {
                message.edits += 1;
                message.summary = summary;
                message.card = card;
                Answer::json(200, &json!({"id": id}))
            }
            None => refused(404, "ActivityNotFoundInConversation", "Activity not found."),
        }
    }

    fn admitted(&self) -> Result<(), Answer> {
        if self.options.installed {
            return Ok(());
        }
        Err(refused(
            403,
            "BotNotInConversationRoster",
            "The bot is not part of the conversation roster.",
        ))
    }

    fn post(
        &mut self,
        (conversation, channel): (&str, &str),
        root: Option<String>,
        activity: &Value,
    ) -> Result<String, Answer> {
        self.admitted()?;
        let (summary, card) = read(activity)?;
        let now = self.options.clock.now();
        if self.options.limits {
            self.posted
                .retain(|(_, at)| now - *at < TimeDelta::hours(1));
            for (most, seconds) in LIMITS {
                let within = TimeDelta::seconds(seconds);
                let counted = self
                    .posted
                    .iter()
                    .filter(|(of, at)| of == conversation && now - *at < within);
                if counted.count() >= most {
                    let wait = seconds.min(30).to_string();
                    return Err(refused(429, "TooManyRequests", "Slow down.")
                        .with_header("retry-after", &wait));
                }
            }
            self.posted.push((conversation.to_owned(), now));
        }
        // Ids are milliseconds.
        self.last_id = now.timestamp_millis().max(self.last_id + 1);
        let id = self.last_id.to_string();
        self.messages.push(BotMessage {
            id: id.clone(),
            channel: channel.to_owned(),
            root,
            summary,
            card,
            edits: 0,
            at: now,
        });
        Ok(id)
    }

    /// Messages of the channel, or replies below one of them, newest first.
    pub(super) fn graph(
        &self,
        request: &Request,
        (team, channel): (&str, &str),
        path: &[&str],
    ) -> Answer {
        let ours = format!("Bearer token-for-{}", self.base.trim_end_matches('/'));
        if !request.is_authorized_by(&ours) {
            return refused(
                401,
                "InvalidAuthenticationToken",
                "Access token validation failure.",
            );
        }
        if !self.options.reads || !self.options.installed {
            return refused(403, "Forbidden", "Missing role permissions on the request.");
        }
        if self.team_of(channel) != Some(team) {
            return refused(404, "NotFound", "No such channel.");
        }
        let root = match path {
            [] => None,
            [root, "replies"] => Some(*root),
            _ => return Answer::not_modelled(request),
        };
        let is_root = |message: &BotMessage| message.root.is_none();
        if root.is_some_and(|root| !self.messages.iter().any(|it| is_root(it) && it.id == root)) {
            return refused(404, "NotFound", "NotFound");
        }
        let seen = self.options.clock.now() - self.options.lag;
        let skip: usize = request
            .query("$skiptoken")
            .and_then(|text| text.parse().ok())
            .unwrap_or(0);
        let found: Vec<&BotMessage> = (self.messages.iter().rev())
            .filter(|message| message.channel == channel)
            .filter(|message| message.root.as_deref() == root && message.at <= seen)
            .collect();
        let page: Vec<Value> = (found.iter().skip(skip).take(PAGE))
            .map(|message| self.as_graph(message))
            .collect();
        let mut body = json!({"@odata.context": "…", "@odata.count": page.len(), "value": page});
        if found.len() > skip + PAGE
            && let Some(fields) = body.as_object_mut()
        {
            let base = self.base.trim_end_matches('/');
            let next = format!("{base}{}?$top=50&$skiptoken={}", request.path, skip + PAGE);
            fields.insert("@odata.nextLink".to_owned(), next.into());
        }
        Answer::json(200, &body)
    }

    fn as_graph(&self, message: &BotMessage) -> Value {
        json!({
            "id": message.id, "replyToId": message.root, "messageType": "message",
            "createdDateTime": message.at.to_rfc3339_opts(SecondsFormat::Millis, true),
            "summary": message.summary,
            "from": {"user": null, "device": null, "application": {
                "id": self.options.app_id, "displayName": "AIOps RCA", "applicationIdentityType": "bot"}},
            "body": {"contentType": "html", "content": "<attachment id=\"1\"></attachment>"},
            "attachments": [{"id": "1", "contentType": CARD, "contentUrl": null, "content": message.card.to_string()}],
        })
    }

    /// The activity that pressing this button sends.
    pub(super) fn click(&self, id: &str, verb: &str, person: &str) -> Option<Value> {
        let message = self.messages.iter().find(|message| message.id == id)?;
        let actions = message.card.get("actions")?.as_array()?;
        let action = actions
            .iter()
            .find(|action| action.get("verb").is_some_and(|it| it == verb))?;
        let (object, name) = self
            .options
            .people
            .iter()
            .find(|(object, _)| object == person)?;
        let mut activity = self.activity("invoke");
        let fields = activity.as_object_mut()?;
        fields.insert("name".to_owned(), "adaptiveCard/action".into());
        fields.insert("replyToId".to_owned(), id.into());
        fields.insert(
            "conversation".to_owned(),
            json!({"isGroup": true, "conversationType": "channel", "tenantId": self.options.tenant,
                "id": format!("{};messageid={}", message.channel, message.root.as_deref().unwrap_or(id))}),
        );
        fields.insert(
            "from".to_owned(),
            json!({"id": format!("29:{object}"), "name": name, "aadObjectId": object}),
        );
        fields.insert(
            "value".to_owned(),
            json!({"action": {"type": "Action.Execute", "title": action.get("title"), "verb": verb, "data": action.get("data")},
                "trigger": "manual"}),
        );
        Some(activity)
    }

    /// The activity that tells of the app's installation.
    pub(super) fn installation(&self) -> Value {
        let mut activity = self.activity("installationUpdate");
        if let Some(fields) = activity.as_object_mut() {
            fields.insert("action".to_owned(), "add".into());
        }
        activity
    }

    fn activity(&self, kind: &str) -> Value {
        let options = &self.options;
        let now = options.clock.now();
        json!({
            "type": kind, "id": format!("f:{}", now.timestamp_millis()), "channelId": "msteams",
            "timestamp": now.to_rfc3339_opts(SecondsFormat::Millis, true),
            "serviceUrl": format!("{}teams/", self.base),
            "recipient": {"id": format!("28:{}", options.app_id), "name": "AIOps RCA"},
            "conversation": {"isGroup": true, "conversationType": "channel", "tenantId": options.tenant, "id": options.channel},
            "channelData": {
                "tenant": {"id": options.tenant},
                "team": {"id": options.channel, "name": "Data", "aadGroupId": options.team},
                "settings": {"selectedChannel": {"id": options.channel}},
            },
        })
    }
}

/// Summary and card of an activity.
fn read(activity: &Value) -> Result<(String, Value), Answer> {
    let bad = |why: &str| refused(400, "BadSyntax", why);
    if activity.get("type").is_none_or(|kind| kind != "message") {
        return Err(bad("Only messages are posted."));
    }
    if activity.to_string().len() > SIZE {
        return Err(refused(413, "MessageSizeTooBig", "Message size too large."));
    }
    let attachments = activity.get("attachments").and_then(Value::as_array);
    let [attachment] = attachments.map_or(&[][..], Vec::as_slice) else {
        return Err(bad("One attachment is expected."));
    };
    if attachment
        .get("contentType")
        .is_none_or(|kind| kind != CARD)
    {
        return Err(bad("The attachment is no card."));
    }
    let card = attachment.get("content").cloned().unwrap_or_default();
    let problems = rules::problems(&card, true);
    if !problems.is_empty() {
        return Err(bad(&problems.join("; ")));
    }
    let summary = activity.get("summary").and_then(Value::as_str);
    Ok((summary.unwrap_or_default().to_owned(), card))
}

fn refused(status: u16, code: &str, message: &str) -> Answer {
    Answer::json(
        status,
        &json!({"error": {"code": code, "message": message}}),
    )
}

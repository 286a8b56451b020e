//! Trace context: whose report a piece of work belongs to, from the door through the queues to every call.
//!
//! A pipe: it imports nothing of ours. In: W3C traceparents, from headers and from stored messages. Out: the
//! traceparent of whatever is under way here, which [`crate::http`] sends along and the flow stores in its
//! messages; the log's `trace.id`; and, when spans are exported, a span for each [`Work`].
//!
//! The context is OpenTelemetry's own and travels with the future, not with the thread. Without an exporter
//! the same code begins no spans, and the traceparent that came in is the one that goes out. It does not know
//! where spans go ([`crate::telemetry`] does). A span holds the attributes that are noted here by name and nothing
//! else: neither other crates' spans nor the fields of log lines can get into one.

use std::borrow::Cow;
use std::fmt;

use opentelemetry::context::FutureExt as _;
use opentelemetry::trace::{
    SpanContext, SpanId, Status, TraceContextExt as _, TraceFlags, TraceId, TraceState, Tracer as _,
};
use opentelemetry::{Context, KeyValue, Value, global};
use tracing::Instrument as _;

pub use opentelemetry::trace::SpanKind as Kind;

/// Names the spans as ours.
const SCOPE: &str = env!("CARGO_PKG_NAME");
/// Of the flags only these two are defined: sampled, and a trace id that is random.
const DEFINED_FLAGS: u8 = 0x03;

/// A W3C traceparent of version 00: trace id, the caller's span id, flags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traceparent(SpanContext);

impl Traceparent {
    /// Reads `00-<32 hex>-<16 hex>-<2 hex>`; `None` for anything else: another version, capitals, ids of zeros.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let mut next = |length: usize| parts.next().filter(|part| is_lower_hex(part, length));
        let (version, trace, parent, flags) = (next(2)?, next(32)?, next(16)?, next(2)?);
        if version != "00" || parts.next().is_some() {
            return None;
        }
        let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()? & DEFINED_FLAGS);
        Self::of(&SpanContext::new(
            TraceId::from_hex(trace).ok()?,
            SpanId::from_hex(parent).ok()?,
            flags,
            true,
            TraceState::NONE,
        ))
    }

    /// The first of a new trace. Not sampled: nobody has recorded anything of it.
    pub fn fresh() -> Self {
        let (trace, parent) = (
            TraceId::from(fastrand::u128(1..)),
            SpanId::from(fastrand::u64(1..)),
        );
        Self(SpanContext::new(
            trace,
            parent,
            TraceFlags::NOT_SAMPLED,
            true,
            TraceState::NONE,
        ))
    }

    fn of(context: &SpanContext) -> Option<Self> {
        context.is_valid().then(|| Self(context.clone()))
    }

    /// The trace's id, 32 hex digits.
    pub fn trace_id(&self) -> String {
        self.0.trace_id().to_string()
    }

    /// Does its sender record the trace?
    pub fn is_sampled(&self) -> bool {
        self.0.is_sampled()
    }

    /// As what is under way here, if this is it: then what is noted is noted there.
    fn context_here(&self) -> Context {
        if current().as_ref() == Some(self) {
            Context::current()
        } else {
            self.context()
        }
    }

    fn context(&self) -> Context {
        Context::new().with_remote_span_context(self.0.clone())
    }
}

impl fmt::Display for Traceparent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = self.0.trace_flags().to_u8() & DEFINED_FLAGS;
        write!(
            f,
            "00-{}-{}-{flags:02x}",
            self.0.trace_id(),
            self.0.span_id()
        )
    }
}

fn is_lower_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// A piece of work under way, in a trace. It ends when it is dropped; what was noted of it is exported then, if spans
/// are exported and its trace is recorded.
#[derive(Debug)]
pub struct Work {
    context: Context,
}

impl Work {
    /// Begins. `parent` says whose work it is; without one it is part of what is under way here, and without that the
    /// first of a new trace. `name`: one of a few, never outside text.
    pub fn begin(
        kind: Kind,
        name: impl Into<Cow<'static, str>>,
        parent: Option<&Traceparent>,
    ) -> Self {
        let parent = parent.map_or_else(Context::current, Traceparent::context);
        let tracer = global::tracer(SCOPE);
        let span = tracer
            .span_builder(name)
            .with_kind(kind)
            .start_with_context(&tracer, &parent);
        let begun = parent.with_span(span);
        // Without an exporter the span is the parent's own, or none at all.
        let known = Traceparent::of(begun.span().span_context()).is_some();
        let context = match (known, Traceparent::of(parent.span().span_context())) {
            (true, _) => begun,
            (false, Some(parent)) => parent.context(),
            (false, None) => Traceparent::fresh().context(),
        };
        Self { context }
    }

    /// What is sent to those who are called for this work.
    pub fn traceparent(&self) -> Traceparent {
        Traceparent(self.context.span().span_context().clone())
    }

    /// Notes an attribute, once: what may be logged, never what may be secret.
    pub fn note(&self, name: &'static str, value: impl Into<Value>) {
        self.context
            .span()
            .set_attribute(KeyValue::new(name, value));
    }

    /// It failed, and why, if that may be said.
    pub fn fail(&self, why: impl Into<Cow<'static, str>>) {
        self.context.span().set_status(Status::error(why));
    }

    /// Does part of the work: what begins, is called and is logged in there belongs to it.
    pub fn run<T>(&self, part: impl Future<Output = T>) -> impl Future<Output = T> {
        within(self.context.clone(), part)
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let span = self.context.span();
        if std::thread::panicking() {
            span.set_status(Status::error("a panic"));
        }
        span.end();
    }
}

fn within<T>(context: Context, part: impl Future<Output = T>) -> impl Future<Output = T> {
    // Of the highest level, so that no filter takes the id from the lines that it lets through.
    let line = match Traceparent::of(context.span().span_context()) {
        Some(known) => tracing::error_span!("work", trace.id = known.trace_id()),
        None => tracing::Span::none(),
    };
    // On the heap: the futures of the flow are large, and each layer around one would copy it.
    Box::pin(part).instrument(line).with_context(context)
}

/// A step of what is under way here, with a span of its own.
pub fn step<T>(name: &'static str, part: impl Future<Output = T>) -> impl Future<Output = T> {
    let step = Work::begin(Kind::Internal, name, None);
    let part = within(step.context.clone(), part);
    async move {
        let done = part.await;
        drop(step);
        done
    }
}

/// The traceparent of what is under way here.
pub fn current() -> Option<Traceparent> {
    Context::map_current(|context| Traceparent::of(context.span().span_context()))
}

/// The traceparent of what is under way here, as messages and tickets keep it.
pub fn here() -> Option<String> {
    current().map(|current| current.to_string())
}

/// What is under way here as long as it is the report's trace, else the report's own. `stored` may be anything that an
/// older version has kept.
fn of_report(stored: Option<&str>) -> Option<Traceparent> {
    match (current(), stored.and_then(Traceparent::parse)) {
        (Some(current), Some(stored)) if current.0.trace_id() != stored.0.trace_id() => {
            Some(stored)
        }
        (current, stored) => current.or(stored),
    }
}

/// Does something in the trace of a report that is not what the caller works on: a sweep comes upon many.
pub fn for_report<T>(
    stored: Option<&str>,
    part: impl Future<Output = T>,
) -> impl Future<Output = T> {
    within(
        of_report(stored).map_or_else(Context::current, |report| report.context_here()),
        part,
    )
}

/// Notes an attribute of what is under way here; see [`Work::note`].
pub fn note(name: &'static str, value: impl Into<Value>) {
    Context::map_current(|context| context.span().set_attribute(KeyValue::new(name, value)));
}

/// What is under way here failed; see [`Work::fail`].
pub fn fail(why: impl Into<Cow<'static, str>>) {
    Context::map_current(|context| context.span().set_status(Status::error(why)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GIVEN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const OTHER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

    fn shown(traceparent: Option<Traceparent>) -> Option<String> {
        traceparent.map(|traceparent| traceparent.to_string())
    }

    #[test]
    fn only_valid_traceparents_are_taken_over() {
        let given = Traceparent::parse(GIVEN).unwrap();
        assert_eq!(
            (given.to_string().as_str(), given.is_sampled()),
            (GIVEN, true)
        );
        assert_eq!(given.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert!(!Traceparent::parse(OTHER).unwrap().is_sampled());
        assert_eq!(
            shown(Traceparent::parse(&GIVEN.replace("-01", "-ff"))),
            Some(GIVEN.replace("-01", "-03"))
        );
        for bad in [
            "",
            "00",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00F067AA0BA902B7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0A",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            " 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-+1",
        ] {
            assert_eq!(Traceparent::parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_as_it_was(text in "0[01]-[0-9a-f]{32}-[0-9a-f]{16}-0[0-3]|\\PC{0,60}") {
            if let Some(read) = Traceparent::parse(&text) {
                prop_assert_eq!(read.to_string(), text);
            }
        }
    }

    #[test]
    fn a_fresh_one_is_valid_and_its_own() {
        let (one, two) = (Traceparent::fresh(), Traceparent::fresh());
        assert_eq!(Traceparent::parse(&one.to_string()), Some(one.clone()));
        assert_ne!(one.trace_id(), two.trace_id());
    }

    #[tokio::test]
    async fn without_an_exporter_what_came_in_goes_out() {
        assert_eq!(current(), None);
        let work = Work::begin(Kind::Server, "door", Traceparent::parse(GIVEN).as_ref());
        assert_eq!(work.traceparent().to_string(), GIVEN);
        let (inside, deeper) = work
            .run(async { (current(), step("step", async { current() }).await) })
            .await;
        assert_eq!(
            (shown(inside), shown(deeper)),
            (Some(GIVEN.to_owned()), Some(GIVEN.to_owned()))
        );
        assert_eq!(current(), None, "it is over outside");
    }

    #[tokio::test]
    async fn work_without_a_parent_gets_a_trace_of_its_own() {
        let work = Work::begin(Kind::Server, "door", None);
        let inside = work.run(async { current() }).await;
        assert_eq!(inside, Some(work.traceparent()));
    }

    #[tokio::test]
    async fn what_is_under_way_counts_within_its_own_trace_only() {
        assert_eq!((of_report(None), of_report(Some("nonsense"))), (None, None));
        assert_eq!(shown(of_report(Some(GIVEN))), Some(GIVEN.to_owned()));
        let here = GIVEN.replace("00f067aa0ba902b7", "1111111111111111");
        let work = Work::begin(Kind::Consumer, "queue", Traceparent::parse(&here).as_ref());
        work.run(async {
            assert_eq!(shown(of_report(None)), Some(here.clone()));
            assert_eq!(shown(of_report(Some("nonsense"))), Some(here.clone()));
            assert_eq!(
                shown(of_report(Some(GIVEN))),
                Some(here.clone()),
                "the nearer one of one trace"
            );
            assert_eq!(shown(of_report(Some(OTHER))), Some(OTHER.to_owned()));
            assert_eq!(
                shown(for_report(Some(OTHER), async { current() }).await),
                Some(OTHER.to_owned())
            );
            assert_eq!(
                shown(for_report(Some(GIVEN), async { current() }).await),
                Some(here.clone())
            );
            assert_eq!(
                shown(for_report(None, async { current() }).await),
                Some(here.clone())
            );
        })
        .await;
    }

    #[tokio::test]
    async fn interleaved_work_does_not_mix() {
        let one = Work::begin(Kind::Server, "one", Traceparent::parse(GIVEN).as_ref());
        let two = Work::begin(Kind::Server, "two", Traceparent::parse(OTHER).as_ref());
        let look = || async {
            let mut seen = Vec::new();
            for _ in 0..5 {
                seen.push(shown(current()));
                tokio::task::yield_now().await;
            }
            seen.dedup();
            seen
        };
        let (first, second) = futures::join!(one.run(look()), two.run(look()));
        assert_eq!(
            (first, second),
            (vec![Some(GIVEN.to_owned())], vec![Some(OTHER.to_owned())])
        );
    }
}

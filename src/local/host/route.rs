//! Route templates in ASP.NET syntax: `hooks/{source}`, `jobs/{id:int}`, `dashboard/{*path}`.
//!
//! Pure. It knows the templates that function files may use and which of two matches is more precise;
//! it does not hand out parameters, because a forwarded request carries its whole path anyway.

use percent_encoding::percent_decode_str;

/// A parsed template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteTemplate {
    text: String,
    segments: Vec<Segment>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Literal(String),
    Parameter {
        constraint: Option<Constraint>,
        optional: bool,
    },
    Rest,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Constraint {
    Int,
    Guid,
    Alpha,
    Bool,
}

impl RouteTemplate {
    /// Parses; the error says which segment cannot be used.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim_matches('/');
        let mut segments = Vec::new();
        for piece in text.split('/').filter(|piece| !piece.is_empty()) {
            let open = segments.last().is_some_and(|last| {
                !matches!(
                    last,
                    Segment::Literal(_)
                        | Segment::Parameter {
                            optional: false,
                            ..
                        }
                )
            });
            if open {
                return Err(format!(
                    "route `{text}`: nothing may follow an optional or catch-all segment"
                ));
            }
            segments.push(
                Segment::parse(piece)
                    .ok_or_else(|| format!("route `{text}`: cannot use segment `{piece}`"))?,
            );
        }
        Ok(Self {
            text: text.to_owned(),
            segments,
        })
    }

    /// The template as written, without slashes at its ends.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Does a request path match? Literals without regard to case, a slash at the end does not matter.
    pub fn matches(&self, path: &str) -> bool {
        let mut pieces = path.split('/').filter(|piece| !piece.is_empty());
        for segment in &self.segments {
            let piece = pieces.next();
            let fits = match (segment, piece) {
                (Segment::Rest, _) => return true,
                (Segment::Parameter { optional, .. }, None) => *optional,
                (Segment::Literal(_), None) => false,
                (Segment::Literal(literal), Some(piece)) => percent_decode_str(piece)
                    .decode_utf8()
                    .is_ok_and(|piece| piece.to_lowercase() == literal.to_lowercase()),
                (Segment::Parameter { constraint, .. }, Some(piece)) => {
                    constraint.is_none_or(|constraint| constraint.accepts(piece))
                }
            };
            if !fits {
                return false;
            }
        }
        pieces.next().is_none()
    }

    /// Smaller is more precise: literals, then constrained parameters, parameters, the rest.
    pub fn precedence(&self) -> Vec<u8> {
        let rank = |segment: &Segment| match segment {
            Segment::Literal(_) => 1,
            Segment::Parameter {
                constraint: Some(_),
                ..
            } => 2,
            Segment::Parameter {
                constraint: None, ..
            } => 3,
            Segment::Rest => 5,
        };
        self.segments.iter().map(rank).collect()
    }
}

impl Segment {
    fn parse(piece: &str) -> Option<Self> {
        let Some(inner) = piece
            .strip_prefix('{')
            .and_then(|piece| piece.strip_suffix('}'))
        else {
            return (!piece.contains(['{', '}'])).then(|| Self::Literal(piece.to_owned()));
        };
        if inner.contains(['{', '}']) {
            return None;
        }
        if let Some(name) = inner.strip_prefix('*') {
            return is_name(name.trim_start_matches('*')).then_some(Self::Rest);
        }
        let (inner, optional) = inner
            .strip_suffix('?')
            .map_or((inner, false), |inner| (inner, true));
        let (name, constraint) = match inner.split_once(':') {
            None => (inner, None),
            Some((name, constraint)) => (name, Some(Constraint::parse(constraint)?)),
        };
        is_name(name).then_some(Self::Parameter {
            constraint,
            optional,
        })
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .chars()
            .all(|letter| letter.is_alphanumeric() || letter == '_')
}

impl Constraint {
    fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "int" | "long" => Some(Self::Int),
            "guid" => Some(Self::Guid),
            "alpha" => Some(Self::Alpha),
            "bool" => Some(Self::Bool),
            _ => None,
        }
    }

    fn accepts(self, piece: &str) -> bool {
        match self {
            Self::Int => piece.parse::<i64>().is_ok(),
            Self::Guid => uuid::Uuid::parse_str(piece).is_ok(),
            Self::Alpha => piece.chars().all(|letter| letter.is_ascii_alphabetic()),
            Self::Bool => piece.eq_ignore_ascii_case("true") || piece.eq_ignore_ascii_case("false"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(template: &str, path: &str) -> bool {
        RouteTemplate::parse(template).unwrap().matches(path)
    }

    #[test]
    fn literals_ignore_case_and_a_slash_at_the_end() {
        assert!(matches("slack/interactions", "/Slack/INTERACTIONS/"));
        assert!(!matches("slack/interactions", "/slack"));
        assert!(!matches("health", "/health/x"));
    }

    #[test]
    fn a_catch_all_takes_nothing_or_everything() {
        assert!(matches("dashboard/{*path}", "/dashboard"));
        assert!(matches("dashboard/{*path}", "/dashboard/"));
        assert!(matches("dashboard/{*path}", "/dashboard/assets/a.css"));
        assert!(!matches("dashboard/{*path}", "/dashboards"));
    }

    #[test]
    fn parameters_keep_their_constraints() {
        assert!(matches("jobs/{id:int}", "/jobs/12"));
        assert!(!matches("jobs/{id:int}", "/jobs/twelve"));
        assert!(matches("jobs/{id?}", "/jobs"));
        assert!(!matches("jobs/{id}", "/jobs"));
    }

    #[test]
    fn the_more_precise_template_comes_first() {
        let precedence = |text| RouteTemplate::parse(text).unwrap().precedence();
        assert!(precedence("a/b") < precedence("a/{x:int}"));
        assert!(precedence("a/{x:int}") < precedence("a/{x}"));
        assert!(precedence("a/{x}") < precedence("a/{*x}"));
    }

    #[test]
    fn templates_that_make_no_sense_are_refused() {
        for text in ["a/{b", "a/{b}{c}", "a/{*rest}/b", "a/{id:date}", "a/{}"] {
            assert!(RouteTemplate::parse(text).is_err(), "{text}");
        }
    }
}

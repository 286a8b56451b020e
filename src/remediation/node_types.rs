//! Which machine size a cluster may be moved to when its own cannot be had.
//!
//! Pure. Only what the settings name for the cluster's present size is ever proposed: a size that suits one cluster
//! is far too small for another, so there is no list for all.

use globset::GlobMatcher;

use crate::failure::glob;

/// One rule: from sizes that match to these, best first.
#[derive(Debug, Clone)]
struct Fallback {
    from: GlobMatcher,
    to: Vec<String>,
}

/// All rules of `REMEDIATION_NODE_TYPES`; the first that matches a cluster's size counts.
#[derive(Debug, Clone, Default)]
pub struct NodeTypes(Vec<Fallback>);

impl NodeTypes {
    /// Reads rules such as `Standard_DS4_v2=Standard_D8ds_v5,Standard_D8as_v5`, each `<glob>=<node type>[,<node type>…]`.
    pub fn parse<'a>(rules: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        rules
            .into_iter()
            .map(Fallback::parse)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The best size that is neither the cluster's own nor was `tried`; `None` when there is none, or when the cluster's
    /// size is not known.
    pub(super) fn other_than(&self, own: Option<&str>, tried: &[&str]) -> Option<&str> {
        let own = own?;
        let fallback = self.0.iter().find(|fallback| fallback.from.is_match(own))?;
        let is_new = |to: &&String| {
            !std::iter::once(&own)
                .chain(tried)
                .any(|known| known.eq_ignore_ascii_case(to))
        };
        fallback.to.iter().find(is_new).map(String::as_str)
    }
}

impl Fallback {
    fn parse(rule: &str) -> Result<Self, String> {
        let (from, to) = rule
            .split_once('=')
            .ok_or_else(|| format!("`{rule}` is not `<glob>=<node type>[,<node type>…]`"))?;
        let to: Vec<String> = to.split(',').map(|name| name.trim().to_owned()).collect();
        match to.iter().find(|name| !is_name(name)) {
            Some(wrong) => Err(format!("`{wrong}` is not a node type")),
            None => Ok(Self {
                from: glob(from)?,
                to,
            }),
        }
    }
}

/// Letters, digits, `_`, `-` and `.`, as in `Standard_D8ds_v5` or `m5.xlarge`.
fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

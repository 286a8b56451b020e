//! What decides how a card looks, beside its ticket's words. Pure.

use url::Url;

use super::size::Size;
use crate::ownership::Routes;

/// What the settings show.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    /// Where the dashboard is; without it there is no button.
    pub dashboard_base: Option<&'a Url>,
    /// The JIRA site; without it the issue's key is no link.
    pub issue_base: Option<&'a Url>,
    /// How large it may be.
    pub size: Size,
    /// Entra object ids of those who may decide here; without any there are no buttons that do.
    pub approvers: &'a [String],
    /// Whom cards mention; without them nobody.
    pub routes: Option<&'a Routes>,
}

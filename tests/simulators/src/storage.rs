//! Tables and queues of a storage account that is entered with Entra tokens only, as the templates make it.
//!
//! It keeps entities and messages, and refuses in the service's own words whatever the token's roles do not hold.
//! Unlike Resource Manager, the service does not say which operation is missing; the log of [`Account`] does. The
//! rules: learn.microsoft.com/rest/api/storageservices/authorize-with-azure-active-directory.

use std::sync::Mutex;

use super::rights::Rights;
use super::{Answer, Request, lock};

/// The operations of one service, each with the sets of rights that are enough.
macro_rules! operations {
    ($($constant:ident $name:literal: $($set:expr),+;)+) => {
        $(const $constant: Operation = Operation { name: $name, enough: &[$(&$set),+] };)+
        /// Everything that is understood here.
        const ALL: &[&Operation] = &[$(&$constant),+];
    };
}

mod queues;
mod tables;

pub use queues::QueueSite;
pub use tables::TableSite;

/// The first version in which tables take Entra tokens; for queues it is older.
const VERSION: &str = "2020-12-06";

/// A request of the service, and the operations of Azure RBAC any one set of which is enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    /// Its name in the REST documentation.
    pub name: &'static str,
    /// Sets of operations, each enough when it is held whole.
    pub enough: &'static [&'static [&'static str]],
}

impl Operation {
    /// Is it allowed to who holds these?
    pub fn is_allowed(&self, holds: impl Fn(&str) -> bool) -> bool {
        let mut sets = self.enough.iter();
        sets.any(|set| set.iter().all(|operation| holds(operation)))
    }
}

/// Who may do what, and what was asked.
#[derive(Debug, Default)]
pub struct Account {
    /// What each token may do.
    pub rights: Rights,
    asked: Mutex<Vec<&'static Operation>>,
    refused: Mutex<Vec<&'static Operation>>,
}

impl Account {
    /// Every operation that was asked for, oldest first.
    pub fn asked(&self) -> Vec<&'static Operation> {
        lock(&self.asked).clone()
    }

    /// Those that were refused.
    pub fn refused(&self) -> Vec<&'static Operation> {
        lock(&self.refused).clone()
    }

    /// Why the service does not look at the request: status, code, message.
    fn refusal(&self, request: &Request, operation: &'static Operation) -> Option<Refusal> {
        lock(&self.asked).push(operation);
        if !self.rights.knows(request) {
            let message = "Server failed to authenticate the request. Please refer to the information in the www-authenticate header.";
            return Some((401, "NoAuthenticationInformation", message));
        }
        if request.header("x-ms-version").unwrap_or_default() < VERSION {
            let message = "Authentication scheme Bearer is not supported in this version.";
            return Some((400, "InvalidHeaderValue", message));
        }
        if operation.is_allowed(|right| self.rights.holds(request, right)) {
            return None;
        }
        lock(&self.refused).push(operation);
        let message =
            "This request is not authorized to perform this operation using this permission.";
        Some((403, "AuthorizationPermissionMismatch", message))
    }
}

/// Status, code, message.
type Refusal = (u16, &'static str, &'static str);

/// What every answer of the service carries.
fn stamped(answer: Answer, request: &Request) -> Answer {
    let date = chrono::Utc::now()
        .format("%a, %d %b %Y %H:%M:%S GMT")
        .to_string();
    answer
        .with_header("x-ms-request-id", &uuid::Uuid::new_v4().to_string())
        .with_header(
            "x-ms-version",
            request.header("x-ms-version").unwrap_or(VERSION),
        )
        .with_header("date", &date)
        .with_header("server", "Windows-Azure-Storage/1.0")
}

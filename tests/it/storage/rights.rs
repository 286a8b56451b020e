//! The roles on the storage account suffice for every call of the program, and no smaller built-in role would do.
//!
//! Roles of storage are built-in: nothing can be cut out of one. So each operation that a role holds either is needed, or
//! stands in [`SPARE`]; and each role that holds less is shown to fail.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use aiops_rca::fault::Fault;
use aiops_rca::storage::{Inserted, Storage, StorageSettings, Write};
use chrono::Utc;
use regex::Regex;
use serde_json::json;
use simulators::Server;
use simulators::storage::{Account, Operation, QueueSite, TableSite};

use crate::support;
use crate::support::identity::IdentityEndpoint;

const TOKEN: &str = "entra";
const T: &str = "tickets";
const Q: &str = "failures";

/// learn.microsoft.com/azure/role-based-access-control/built-in-roles/storage: operations below the account, in
/// letters as there.
const BUILT_IN: [(&str, &[&str]); 7] = [
    (
        "Storage Queue Data Contributor",
        &[
            "queueServices/queues/delete",
            "queueServices/queues/read",
            "queueServices/queues/write",
            "queueServices/queues/messages/delete",
            "queueServices/queues/messages/read",
            "queueServices/queues/messages/write",
            "queueServices/queues/messages/process/action",
        ],
    ),
    (
        "Storage Queue Data Message Processor",
        &[
            "queueServices/queues/messages/read",
            "queueServices/queues/messages/process/action",
        ],
    ),
    (
        "Storage Queue Data Message Sender",
        &["queueServices/queues/messages/add/action"],
    ),
    (
        "Storage Queue Data Reader",
        &[
            "queueServices/queues/read",
            "queueServices/queues/messages/read",
        ],
    ),
    (
        "Storage Table Data Contributor",
        &[
            "tableServices/tables/read",
            "tableServices/tables/write",
            "tableServices/tables/delete",
            "tableServices/tables/entities/read",
            "tableServices/tables/entities/write",
            "tableServices/tables/entities/delete",
            "tableServices/tables/entities/add/action",
            "tableServices/tables/entities/update/action",
        ],
    ),
    (
        "Storage Table Data Reader",
        &[
            "tableServices/tables/read",
            "tableServices/tables/entities/read",
        ],
    ),
    ("Storage Blob Data Owner", &[]),
];

/// What the two roles hold and could do without, each for itself: nothing of ours is deleted or listed as a whole, and some
/// operations are covered twice (`write` is as much as `add` and `update`, `process` as much as `read` and `delete`).
const SPARE: [&str; 8] = [
    "queueServices/queues/delete",
    "queueServices/queues/messages/delete",
    "queueServices/queues/messages/process/action",
    "tableServices/tables/delete",
    "tableServices/tables/entities/add/action",
    "tableServices/tables/entities/update/action",
    "tableServices/tables/entities/write",
    "tableServices/tables/read",
];

/// What the app's identity is given on its account.
fn granted() -> Vec<String> {
    let grants = &support::bicep::template("infra/modules/storage.bicep")["resources"]["grants"];
    support::bicep::texts(&grants["config"]["in"])
}

fn operations(roles: &[&str]) -> BTreeSet<&'static str> {
    let held = roles.iter().flat_map(|role| {
        let known = BUILT_IN.iter().find(|(name, _)| name == role);
        known.unwrap_or_else(|| panic!("{role} is not known")).1
    });
    held.copied().collect()
}

/// An account that lets this much be done, and a store on it.
struct Entered {
    storage: Storage,
    tables: Arc<TableSite>,
    queues: Arc<QueueSite>,
    servers: [Server; 2],
}

impl Entered {
    async fn with(held: &BTreeSet<&str>) -> Self {
        let full: Vec<String> = held
            .iter()
            .map(|operation| format!("Microsoft.Storage/storageAccounts/{operation}"))
            .collect();
        let full: Vec<&str> = full.iter().map(String::as_str).collect();
        let (tables, queues) = (Arc::<TableSite>::default(), Arc::<QueueSite>::default());
        for account in [&tables.account, &queues.account] {
            account.rights.grant(TOKEN, &full);
        }
        let servers = [
            simulators::serve(0, Arc::clone(&tables)).await.unwrap(),
            simulators::serve(0, Arc::clone(&queues)).await.unwrap(),
        ];
        let answer = json!({"access_token": TOKEN, "expires_on": Utc::now().timestamp() + 3600});
        let endpoint = IdentityEndpoint::start(answer).await;
        let [at_tables, at_queues] = servers
            .each_ref()
            .map(|server| server.url().parse().unwrap());
        let settings = StorageSettings::of_services(at_tables, at_queues, endpoint.settings(None));
        Self {
            storage: Storage::open(&settings, &support::http()).unwrap(),
            tables,
            queues,
            servers,
        }
    }

    /// Everything that a store can be asked for, as far as one gets; what was refused.
    async fn everything(&self) -> Vec<Fault> {
        let storage = &self.storage;
        let mut faults = Vec::new();
        for (tables, queues) in [(&[T][..], &[][..]), (&[], &[Q])] {
            faults.extend(storage.prepare(tables, queues).await.err());
        }
        let inserted = storage.insert(T, "p", "r", "{}").await;
        let etag = match &inserted {
            Ok(Inserted::Created(etag)) => etag.clone(),
            _ => aiops_rca::storage::ETag("W/\"none\"".to_owned()),
        };
        faults.extend(inserted.err());
        faults.extend(storage.get(T, "p", "r").await.err());
        faults.extend(storage.swap(T, "p", "r", &etag, "{}").await.err());
        faults.extend(storage.upsert(T, "p", "r", "{}").await.err());
        let writes = [
            Write::Insert("a", "{}"),
            Write::Swap("r", &etag, "{}"),
            Write::Upsert("b", "{}"),
        ];
        let committed = storage.commit(T, "p", &writes).await;
        faults.extend(committed.err());
        let deleted = storage.commit(T, "p", &[Write::Delete("b")]).await;
        faults.extend(deleted.err());
        faults.extend(storage.scan(T, "p", "", "", 10, None).await.err());
        faults.extend(storage.delete(T, "p", "r", None).await.err());
        faults.extend(storage.put(Q, "m", Duration::ZERO).await.err());
        faults.extend(storage.depth(Q).await.err());
        faults.extend(storage.oldest_waiting(Q).await.err());
        let received = storage.receive(Q, 1, Duration::from_mins(1)).await;
        let message = match &received {
            Ok(messages) if !messages.is_empty() => messages[0].clone(),
            _ => aiops_rca::storage::Message {
                id: "none".to_owned(),
                receipt: "none".to_owned(),
                text: "m".to_owned(),
                dequeue_count: 1,
                inserted_at: Utc::now(),
                expires_at: Utc::now(),
                next_visible_at: Utc::now(),
            },
        };
        faults.extend(received.err());
        let hidden = storage
            .hide_message(Q, &message, Duration::from_secs(5))
            .await;
        faults.extend(hidden.err());
        faults.extend(storage.delete_message(Q, &message).await.err());
        faults
    }

    fn accounts(&self) -> [&Account; 2] {
        [&self.tables.account, &self.queues.account]
    }
}

/// Names of operations, each once.
fn names<'a>(
    operations: impl IntoIterator<Item = &'a &'static Operation>,
) -> BTreeSet<&'static str> {
    operations
        .into_iter()
        .map(|operation| operation.name)
        .collect()
}

/// What these operations of the service would be refused.
fn refused(held: &BTreeSet<&str>) -> BTreeSet<&'static str> {
    let holds = |operation: &str| {
        operation
            .strip_prefix("Microsoft.Storage/storageAccounts/")
            .is_some_and(|operation| held.contains(operation))
    };
    let all = TableSite::OPERATIONS.iter().chain(QueueSite::OPERATIONS);
    names(all.filter(|operation| !operation.is_allowed(holds)))
}

#[tokio::test]
async fn the_roles_of_the_templates_allow_every_call_of_the_store() {
    let roles = granted();
    let roles: Vec<&str> = roles.iter().map(String::as_str).collect();
    let entered = Entered::with(&operations(&roles)).await;
    let faults = entered.everything().await;
    assert!(faults.is_empty(), "{faults:#?}");
    // Nothing that a store can do was left out, and nothing is known to the stand-in that is not called.
    let written = Regex::new(r"pub async fn (\w+)").unwrap();
    let source = std::fs::read_to_string("src/storage/mod.rs").unwrap();
    let here = std::fs::read_to_string("tests/it/storage/rights.rs").unwrap();
    for method in written.captures_iter(&source) {
        let call = Regex::new(&format!(r"storage\s*\.{}\(", &method[1])).unwrap();
        assert!(call.is_match(&here), "{} is not asked for", &method[1]);
    }
    let [tables, queues] = entered.accounts().map(|account| names(&account.asked()));
    assert_eq!(tables, names(TableSite::OPERATIONS));
    assert_eq!(queues, names(QueueSite::OPERATIONS));
    // Tables take Entra tokens since 2020-12-06, queues longer. No test with a key could show an older version.
    for request in entered.servers.iter().flat_map(Server::requests) {
        assert!(
            request.header("x-ms-version").unwrap() >= "2020-12-06",
            "{request:?}"
        );
        assert!(request.is_authorized_by("Bearer entra"), "{request:?}");
    }
}

/// The Functions host opens the account as the same identity: it keeps leases and the timer's state in blobs.
#[test]
fn each_role_on_the_account_is_needed_by_the_program_or_by_the_host() {
    let roles = granted();
    let others = |left_out: &str| -> Vec<&str> {
        let others = roles.iter().map(String::as_str);
        others.filter(|role| *role != left_out).collect()
    };
    let mut of_the_host = Vec::new();
    for role in &roles {
        if refused(&operations(&others(role))).is_empty() {
            of_the_host.push(role.as_str());
        }
    }
    assert_eq!(of_the_host, ["Storage Blob Data Owner"]);
    // Smaller roles, alone or together, leave something out.
    for (contributor, smaller) in [
        (
            "Storage Queue Data Contributor",
            [
                "Storage Queue Data Message Processor",
                "Storage Queue Data Message Sender",
                "Storage Queue Data Reader",
            ]
            .as_slice(),
        ),
        (
            "Storage Table Data Contributor",
            &["Storage Table Data Reader"],
        ),
    ] {
        let held = [others(contributor), smaller.to_vec()].concat();
        assert!(!refused(&operations(&held)).is_empty(), "{contributor}");
    }
}

#[tokio::test]
async fn each_operation_that_is_taken_away_is_missed() {
    let roles = granted();
    let roles: Vec<&str> = roles.iter().map(String::as_str).collect();
    let held = operations(&roles);
    let mut spare = BTreeSet::new();
    for operation in &held {
        let mut less = held.clone();
        less.remove(operation);
        let expected = refused(&less);
        let entered = Entered::with(&less).await;
        let faults = entered.everything().await;
        let missed: BTreeSet<&str> = entered
            .accounts()
            .iter()
            .flat_map(|account| names(&account.refused()))
            .collect();
        assert_eq!(missed, expected, "{operation}");
        if missed.is_empty() {
            spare.insert(*operation);
            continue;
        }
        // The service does not say which operation it was: the fault names the role.
        let role = if operation.starts_with("queue") {
            "Storage Queue Data Contributor"
        } else {
            "Storage Table Data Contributor"
        };
        assert!(
            faults.iter().any(|fault| fault.reason().contains(role)),
            "{operation}: {faults:#?}"
        );
    }
    assert_eq!(spare, BTreeSet::from(SPARE));
    // Not all of them together.
    let refused = refused(&held.difference(&spare).copied().collect());
    let expected = [
        "Get Messages",
        "Delete Message",
        "Insert Entity",
        "Insert Or Replace Entity",
        "Update Entity",
    ];
    assert_eq!(refused, BTreeSet::from(expected));
}

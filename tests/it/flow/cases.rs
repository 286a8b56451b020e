//! Failures whose diagnosis is in doubt, as cases for people to label.

use crate::support::build;
use aiops_rca::diagnosis::Category;
use aiops_rca::failure::{Failure, RunKey, Source};
use aiops_rca::flow::{Flow, Task};
use aiops_rca::sources::Parsed;
use aiops_rca::ticket::{RemediationState, TicketId};

use crate::machine::{at, failure, ticket};
use crate::support;

async fn analysed(flow: &Flow, failure: Failure) -> TicketId {
    let accepted = flow
        .accept(Parsed::Failures(vec![failure]), at(0))
        .await
        .unwrap();
    let id = accepted.ticket_id.unwrap();
    let task = Task::Failure { ticket: id.clone() };
    flow.work(task, || at(0)).await.unwrap();
    id
}

#[tokio::test]
async fn what_is_undetermined_or_contradicted_is_exported_without_secrets_and_labels() {
    for (name, storage) in support::storages() {
        let flow = build::flow(storage);
        flow.prepare().await.unwrap();
        let clear = analysed(&flow, failure()).await;
        let riddle = Failure {
            key: RunKey::new(Source::Adf, "factory", "run-2", "", ""),
            run_id: Some("run-2".to_owned()),
            error_code: None,
            message: "Qwertz uiop: AccountKey=c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0 jane.doe@contoso.com".to_owned(),
            ..failure()
        };
        let riddle = analysed(&flow, riddle).await;
        let mut helpless = ticket();
        helpless.id = TicketId::parse("ADF-20251212T100001-0a0a0a").unwrap();
        helpless.remediation.state = RemediationState::Exhausted;
        assert!(flow.store.insert(&helpless).await.unwrap());

        let cases = flow.cases(at(60), 1, 100).await.unwrap();
        let ids: Vec<&str> = cases.iter().map(|case| case.id.as_str()).collect();
        assert!(!ids.contains(&clear.as_str()), "{name}: {ids:?}");
        let of = |id: &str| cases.iter().find(|case| case.id == id).unwrap();
        let undetermined = of(riddle.as_str());
        assert_eq!(undetermined.answered.category, Category::Undetermined);
        assert_eq!(undetermined.doubts, ["The cause is undetermined."]);
        let doubts = &of(helpless.id.as_str()).doubts;
        assert_eq!(
            doubts,
            &["The action that the diagnosis called for did not help."]
        );
        let written = serde_json::to_string(&cases).unwrap();
        for secret in ["c2VjcmV0", "jane.doe", "\"label\""] {
            assert!(!written.contains(secret), "{name}: {written}");
        }
        // Nobody looks further back than asked.
        let later = at(60) + chrono::TimeDelta::days(9);
        assert_eq!(flow.cases(later, 3, 100).await.unwrap(), []);
    }
}

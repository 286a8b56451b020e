//! The writes of one entity-group transaction, ready to be sent as often as it takes.

use azure_core::error::Error;
use azure_data_tables::operations::TransactionBuilder;
use azure_data_tables::prelude::{IfMatchCondition, PartitionKeyClient, TableClient};
use serde_json::value::RawValue;

use super::super::names::encode_key;
use super::super::{ETag, Swapped, Write};
use super::{document, entity, read};
use crate::fault::Fault;

/// One logical transaction, however often it is tried.
pub(super) struct Group {
    table: TableClient,
    partition: PartitionKeyClient,
    /// As it was given, for reading back.
    named: String,
    nonce: String,
    pub(super) rows: Vec<Row>,
}

pub(super) struct Row {
    named: String,
    encoded: String,
    kind: Kind,
}

enum Kind {
    Insert(Box<RawValue>),
    Swap(ETag, Box<RawValue>),
    Upsert(Box<RawValue>),
    Delete,
}

impl Group {
    pub(super) fn new(
        table: &TableClient,
        partition: &str,
        writes: &[Write<'_>],
    ) -> Result<Self, Fault> {
        let nonce = uuid::Uuid::new_v4().to_string();
        let key = encode_key(partition)?;
        let row = |write: &Write<'_>| {
            let encoded = encode_key(write.row())?;
            let properties = |document| document::entity(&key, &encoded, &nonce, document);
            let kind = match write {
                Write::Insert(_, document) => Kind::Insert(properties(document)?),
                Write::Swap(_, etag, document) => {
                    Kind::Swap((*etag).clone(), properties(document)?)
                }
                Write::Upsert(_, document) => Kind::Upsert(properties(document)?),
                Write::Delete(_) => Kind::Delete,
            };
            Ok::<_, Fault>(Row {
                named: write.row().to_owned(),
                encoded,
                kind,
            })
        };
        let rows = writes.iter().map(row).collect::<Result<_, _>>()?;
        Ok(Self {
            table: table.clone(),
            partition: table.partition_key_client(key),
            named: partition.to_owned(),
            nonce,
            rows,
        })
    }

    pub(super) fn request(&self) -> Result<TransactionBuilder, Error> {
        let mut request = self.partition.transaction();
        for row in &self.rows {
            let name = row.encoded.clone();
            request = match &row.kind {
                Kind::Insert(properties) => request.insert(properties)?,
                Kind::Swap(etag, properties) => {
                    let condition = IfMatchCondition::Etag(etag.0.clone().into());
                    request.update(name, properties, Some(condition))?
                }
                Kind::Upsert(properties) => request.insert_or_replace(name, properties)?,
                Kind::Delete => request.delete(name, None)?,
            };
        }
        Ok(request)
    }

    /// Is what is stored now of this very transaction? Then an earlier try succeeded and its answer was lost. One that
    /// only deletes leaves nothing to tell it by: what is gone was most likely removed by us.
    pub(super) async fn landed(&self) -> Result<Swapped, Fault> {
        let written = |row: &&Row| !matches!(row.kind, Kind::Delete);
        let Some(row) = self.rows.iter().find(written) else {
            return Ok(Swapped::Done(ETag(String::new())));
        };
        let found = read(&entity(&self.table, &self.named, &row.named)?).await?;
        Ok(found
            .filter(|(properties, _)| document::is_of(properties, &self.nonce))
            .map_or(Swapped::Conflict, |(_, etag)| Swapped::Done(etag)))
    }
}

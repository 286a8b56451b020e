//! Azure Storage (or Azurite) through the frozen 0.21 family of crates; nothing outside this file and its folder names them.
//!
//! What they do not do is done here: timeouts, connection reuse and bounded repetition (`transport`, `attempts`),
//! keys that need no escaping (`names`), documents over several properties (`document`), and
//! faults without their error texts, which would show connection strings and signatures.
//! Every write carries a nonce, so that a write whose answer was lost can be told apart from another writer's.

use std::sync::Arc;

use azure_core::auth::Secret;
use azure_core::{ClientOptions, Continuable as _, RetryOptions, TransportOptions};
use azure_data_tables::clients::{TableServiceClient, TableServiceClientBuilder};
use azure_data_tables::prelude::{EntityClient, IfMatchCondition, TableClient};
use azure_storage::{CloudLocation, StorageCredentials};
use azure_storage_queues::{QueueServiceClient, QueueServiceClientBuilder};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::StreamExt as _;
use futures::future::try_join_all;
use secrecy::ExposeSecret as _;
use serde_json::Value;
use serde_json::value::RawValue;

use self::attempts::{CONFLICT, NOT_FOUND, STALE, attempts, fault, refusal, refused};
use self::document::Properties;
use self::group::Group;
use self::queues::QUEUES;
use self::transport::{Credential, RESOURCE, Transport};
use super::limits::{bad_continuation, check_document, check_writes, page_size};
use super::names::{Prefix, decode_key, encode_key};
use super::settings::{StorageAccess, StorageAccount};
use super::{Continuation, ETag, Entity, Inserted, Page, Swapped, Write};
use crate::fault::Fault;
use crate::http::Http;
use crate::identity::Identity;

mod attempts;
mod document;
mod group;
mod queues;
mod transport;

const TABLES: &str = "Table Storage";

/// A storage account; cloning shares its connections.
#[derive(Debug, Clone)]
pub struct AzureStorage {
    prefix: Prefix,
    tables: TableServiceClient,
    queues: QueueServiceClient,
    identity: Option<Identity>,
}

impl AzureStorage {
    pub(super) fn open(account: &StorageAccount, prefix: &str, http: &Http) -> Result<Self, Fault> {
        let mut identity = None;
        let credentials = match &account.access {
            StorageAccess::Key(key) => StorageCredentials::access_key(
                account.name.clone(),
                Secret::new(key.expose_secret().to_owned()),
            ),
            StorageAccess::Sas(sas) => {
                StorageCredentials::sas_token(sas.expose_secret()).map_err(|_| {
                    Fault::permanent(
                        "the shared access signature of the storage account cannot be read",
                    )
                })?
            }
            StorageAccess::Identity(settings) => {
                let ours = Identity::new(settings.clone(), http.clone());
                identity = Some(ours.clone());
                StorageCredentials::token_credential(Arc::new(Credential(ours)))
            }
        };
        let location = |url: &url::Url| CloudLocation::Custom {
            account: account.name.clone(),
            uri: url.as_str().to_owned(),
        };
        let options = |what| {
            let transport = Transport {
                http: http.untraced(),
                what,
            };
            ClientOptions::new(TransportOptions::new(Arc::new(transport)))
                .retry(RetryOptions::none())
        };
        let tables = TableServiceClientBuilder::with_location(
            location(&account.tables),
            credentials.clone(),
        );
        let queues =
            QueueServiceClientBuilder::with_location(location(&account.queues), credentials);
        Ok(Self {
            prefix: Prefix::new(prefix)?,
            tables: tables.client_options(options(TABLES)).build(),
            queues: queues.client_options(options(QUEUES)).build(),
            identity,
        })
    }

    pub(super) async fn prepare(&self, tables: &[&str], queues: &[&str]) -> Result<(), Fault> {
        self.authenticate().await?;
        let mut table_clients = Vec::new();
        for table in tables {
            table_clients.push(self.table(table)?);
        }
        let mut queue_clients = Vec::new();
        for queue in queues {
            queue_clients.push(self.queue(queue)?);
        }
        let tables = try_join_all(table_clients.iter().map(|client| {
            attempts(TABLES, move |_| async move {
                match client.create().await {
                    Err(error) if refusal(&error) != Some((CONFLICT, "TableAlreadyExists")) => {
                        Err(fault(TABLES, &error))
                    }
                    _ => Ok(()),
                }
            })
        }));
        let queues = try_join_all(queue_clients.iter().map(|client| {
            attempts(QUEUES, move |_| async move {
                match client.create().await {
                    Err(error) if refusal(&error) != Some((CONFLICT, "QueueAlreadyExists")) => {
                        Err(fault(QUEUES, &error))
                    }
                    _ => Ok(()),
                }
            })
        }));
        futures::try_join!(tables, queues).map(|_| ())
    }

    pub(super) async fn insert(
        &self,
        table: &str,
        partition: &str,
        row: &str,
        document: &str,
    ) -> Result<Inserted, Fault> {
        let write = self.write(table, partition, row, document).await?;
        let write = &write;
        attempts(TABLES, |again| async move {
            let error = match write
                .table
                .insert::<_, Value>(&write.properties)
                .map_err(|error| fault(TABLES, &error))?
                .await
            {
                Ok(inserted) => return Ok(Inserted::Created(ETag(inserted.etag.to_string()))),
                Err(error) => error,
            };
            match refusal(&error) {
                Some((CONFLICT, "EntityAlreadyExists")) if again => Ok(write
                    .landed()
                    .await?
                    .map_or(Inserted::Exists, Inserted::Created)),
                Some((CONFLICT, "EntityAlreadyExists")) => Ok(Inserted::Exists),
                _ => Err(fault(TABLES, &error)),
            }
        })
        .await
    }

    pub(super) async fn get(
        &self,
        table: &str,
        partition: &str,
        row: &str,
    ) -> Result<Option<Entity>, Fault> {
        self.authenticate().await?;
        let client = &entity(&self.table(table)?, partition, row)?;
        let found = attempts(TABLES, |_| read(client)).await?;
        found
            .map(|(properties, etag)| {
                Ok(Entity {
                    partition: partition.to_owned(),
                    row: row.to_owned(),
                    etag,
                    document: document::join(&properties)?,
                })
            })
            .transpose()
    }

    pub(super) async fn swap(
        &self,
        table: &str,
        partition: &str,
        row: &str,
        etag: &ETag,
        document: &str,
    ) -> Result<Swapped, Fault> {
        let write = self.write(table, partition, row, document).await?;
        let write = &write;
        attempts(TABLES, |again| async move {
            let condition = IfMatchCondition::Etag(etag.0.clone().into());
            let update = write
                .entity
                .update(&write.properties, condition)
                .map_err(|error| fault(TABLES, &error))?;
            let error = match update.await {
                Ok(updated) => return Ok(Swapped::Done(ETag(updated.etag.to_string()))),
                Err(error) => error,
            };
            match refusal(&error) {
                Some((STALE, _)) if again => Ok(write
                    .landed()
                    .await?
                    .map_or(Swapped::Conflict, Swapped::Done)),
                Some((STALE, _) | (NOT_FOUND, "ResourceNotFound" | "EntityNotFound")) => {
                    Ok(Swapped::Conflict)
                }
                // An ETag that is not one of Azure's cannot be the current one.
                Some((400, "InvalidInput" | "InvalidHeaderValue"))
                    if !etag.0.starts_with("W/\"") =>
                {
                    Ok(Swapped::Conflict)
                }
                _ => Err(fault(TABLES, &error)),
            }
        })
        .await
    }

    pub(super) async fn upsert(
        &self,
        table: &str,
        partition: &str,
        row: &str,
        document: &str,
    ) -> Result<(), Fault> {
        let write = self.write(table, partition, row, document).await?;
        let write = &write;
        attempts(TABLES, |_| async move {
            let upsert = write
                .entity
                .insert_or_replace(&write.properties)
                .map_err(|error| fault(TABLES, &error))?;
            upsert
                .await
                .map(|_| ())
                .map_err(|error| fault(TABLES, &error))
        })
        .await
    }

    pub(super) async fn delete(
        &self,
        table: &str,
        partition: &str,
        row: &str,
        etag: Option<&ETag>,
    ) -> Result<bool, Fault> {
        self.authenticate().await?;
        let client = &entity(&self.table(table)?, partition, row)?;
        attempts(TABLES, |again| async move {
            let condition = etag.map_or(IfMatchCondition::Any, |etag| {
                IfMatchCondition::Etag(etag.0.clone().into())
            });
            let Err(error) = client.delete().if_match(condition).await else {
                return Ok(true);
            };
            match refusal(&error) {
                // After a lost answer, what is gone was most likely removed by us.
                Some((NOT_FOUND, "ResourceNotFound" | "EntityNotFound")) => Ok(again),
                Some((STALE, _)) => Ok(false),
                _ => Err(fault(TABLES, &error)),
            }
        })
        .await
    }

    /// An entity-group transaction. The crate answers `Ok` for one that failed, with the answer of the write that did.
    pub(super) async fn commit(
        &self,
        table: &str,
        partition: &str,
        writes: &[Write<'_>],
    ) -> Result<Swapped, Fault> {
        check_writes(writes)?;
        self.authenticate().await?;
        let group = &Group::new(&self.table(table)?, partition, writes)?;
        attempts(TABLES, |again| async move {
            let request = group.request().map_err(|error| fault(TABLES, &error))?;
            let answers = match request.await {
                Ok(answered) => answered.operation_responses,
                Err(error) => return Err(fault(TABLES, &error)),
            };
            let failed = answers
                .iter()
                .map(|answer| u16::from(answer.status_code))
                .find(|status| !(200..300).contains(status));
            match failed {
                None if answers.len() == group.rows.len() => {
                    let first = answers.into_iter().next().and_then(|answer| answer.etag);
                    let etag = first.map(|etag| etag.to_string()).unwrap_or_default();
                    Ok(Swapped::Done(ETag(etag)))
                }
                Some(CONFLICT | STALE | NOT_FOUND) if again => group.landed().await,
                Some(CONFLICT | STALE | NOT_FOUND) => Ok(Swapped::Conflict),
                Some(status @ (408 | 429 | 500..)) => {
                    Err(Fault::transient(format!("{TABLES} answered {status}")))
                }
                Some(status) => Err(refused(TABLES, status, "in a transaction")),
                None => Err(Fault::transient(format!(
                    "{TABLES} answered a part of a transaction"
                ))),
            }
        })
        .await
    }

    pub(super) async fn scan(
        &self,
        table: &str,
        partition: &str,
        from: &str,
        to: &str,
        limit: u32,
        after: Option<&Continuation>,
    ) -> Result<Page, Fault> {
        self.authenticate().await?;
        let table = &self.table(table)?;
        let mut filter = format!("PartitionKey eq '{}'", encode_key(partition)?);
        for (operator, bound) in [("ge", from), ("lt", to)] {
            if !bound.is_empty() {
                filter.extend([" and RowKey ", operator, " '", &encode_key(bound)?, "'"]);
            }
        }
        let after = &after.map(token).transpose()?;
        let filter = &filter;
        let page = attempts(TABLES, |_| async move {
            let mut query = table.query().filter(filter.clone()).top(page_size(limit));
            if let Some((partition, row)) = after {
                query = query.initial_partition_key(partition.clone());
                if let Some(row) = row {
                    query = query.initial_row_key(row.clone());
                }
            }
            let Some(page) = query.into_stream::<Properties>().next().await else {
                return Ok(None);
            };
            page.map(Some).map_err(|error| fault(TABLES, &error))
        })
        .await?;
        let Some(page) = page else {
            return Ok(Page {
                entities: Vec::new(),
                next: None,
            });
        };
        let next = page.continuation().map(|token| continuation(&token));
        let entities = page
            .entities
            .iter()
            .map(|properties| listed(partition, properties))
            .collect::<Result<_, _>>()?;
        Ok(Page { entities, next })
    }

    /// Has a token before the first request, so that a fault of the identity is not taken for one of the store.
    async fn authenticate(&self) -> Result<(), Fault> {
        match &self.identity {
            Some(identity) => identity.token(RESOURCE).await.map(|_| ()),
            None => Ok(()),
        }
    }

    fn table(&self, bare: &str) -> Result<TableClient, Fault> {
        Ok(self.tables.table_client(self.prefix.table(bare)?))
    }

    async fn write(
        &self,
        table: &str,
        partition: &str,
        row: &str,
        document: &str,
    ) -> Result<Sent, Fault> {
        check_document(document)?;
        self.authenticate().await?;
        let table = self.table(table)?;
        let entity = entity(&table, partition, row)?;
        let nonce = uuid::Uuid::new_v4().to_string();
        let properties =
            document::entity(&encode_key(partition)?, &encode_key(row)?, &nonce, document)?;
        Ok(Sent {
            table,
            entity,
            nonce,
            properties,
        })
    }
}

/// One logical write, however often it is tried.
struct Sent {
    table: TableClient,
    entity: EntityClient,
    nonce: String,
    properties: Box<RawValue>,
}

impl Sent {
    /// Is what is stored now of this very write? Then an earlier try succeeded and its answer was lost.
    async fn landed(&self) -> Result<Option<ETag>, Fault> {
        let found = read(&self.entity).await?;
        Ok(found
            .filter(|(properties, _)| document::is_of(properties, &self.nonce))
            .map(|(_, etag)| etag))
    }
}

fn entity(table: &TableClient, partition: &str, row: &str) -> Result<EntityClient, Fault> {
    Ok(table
        .partition_key_client(encode_key(partition)?)
        .entity_client(encode_key(row)?))
}

async fn read(client: &EntityClient) -> Result<Option<(Properties, ETag)>, Fault> {
    match client.get::<Properties>().await {
        Ok(found) => Ok(Some((found.entity, ETag(found.etag.to_string())))),
        Err(error) => match refusal(&error) {
            Some((NOT_FOUND, "ResourceNotFound" | "EntityNotFound")) => Ok(None),
            _ => Err(fault(TABLES, &error)),
        },
    }
}

/// An entity of a query's answer.
fn listed(partition: &str, properties: &Properties) -> Result<Entity, Fault> {
    let text = |name: &str| properties.get(name).and_then(Value::as_str);
    let row = text("RowKey").and_then(decode_key);
    let (Some(row), Some(etag)) = (row, text("odata.etag")) else {
        return Err(Fault::permanent(
            "Table Storage answered an entity that was not written by us",
        ));
    };
    let document = document::join(properties)?;
    Ok(Entity {
        partition: partition.to_owned(),
        row,
        etag: ETag(etag.to_owned()),
        document,
    })
}

/// Where a query goes on, as Azure says it.
type Token = (String, Option<String>);

fn continuation((partition, row): &Token) -> Continuation {
    let json = serde_json::json!([partition, row]).to_string();
    Continuation(URL_SAFE_NO_PAD.encode(json))
}

fn token(continuation: &Continuation) -> Result<Token, Fault> {
    let json = URL_SAFE_NO_PAD
        .decode(&continuation.0)
        .map_err(|_| bad_continuation())?;
    serde_json::from_slice(&json).map_err(|_| bad_continuation())
}

//! The tables and the transactions over them.

use redb::{
    Database, Durability, ReadableDatabase, ReadableTable, Table, TableDefinition, WriteTransaction,
};

use super::record::{Damage, Header};
use crate::bounded_file::CHUNK;
use crate::profile::Payload;

const FORMAT: TableDefinition<&str, u64> = TableDefinition::new("format");
const RECORDS: TableDefinition<u64, &[u8]> = TableDefinition::new("records");
const CHUNKS: TableDefinition<(u64, u32), &[u8]> = TableDefinition::new("chunks");

const VERSION: u64 = 1;

/// What a file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Listing {
    /// Numbers and headers, in order.
    pub(super) records: Vec<(u64, Header)>,
    /// Payloads whose headers could not be read; they were removed.
    pub(super) damaged: u64,
}

/// Makes the tables where they are missing and lists the records.
pub(super) fn prepare(database: &Database) -> Result<Listing, redb::Error> {
    let transaction = database.begin_write()?;
    let mut listing = Listing::default();
    {
        let mut format = transaction.open_table(FORMAT)?;
        let version = format.get("version")?.map(|value| value.value());
        match version {
            None => {
                format.insert("version", VERSION)?;
            }
            Some(VERSION) => {}
            Some(other) => {
                return Err(redb::Error::Corrupted(format!(
                    "format {other} is not {VERSION}"
                )));
            }
        }
        let mut records = transaction.open_table(RECORDS)?;
        let mut chunks = transaction.open_table(CHUNKS)?;
        let mut damaged = Vec::new();
        for row in records.iter()? {
            let (number, header) = row?;
            match Header::decode(header.value()) {
                Ok(header) => listing.records.push((number.value(), header)),
                Err(_) => damaged.push(number.value()),
            }
        }
        listing.damaged = damaged.len() as u64;
        for number in damaged {
            remove(&mut records, &mut chunks, number)?;
        }
    }
    commit(transaction, Durability::Immediate)?;
    Ok(listing)
}

/// Removes and appends, in this order, all of it or nothing.
pub(super) fn change(
    database: &Database,
    removals: &[u64],
    appends: &[(u64, &Payload)],
    durability: Durability,
) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut records = transaction.open_table(RECORDS)?;
        let mut chunks = transaction.open_table(CHUNKS)?;
        for number in removals {
            remove(&mut records, &mut chunks, *number)?;
        }
        for (number, payload) in appends {
            records.insert(*number, Header::of(payload).encode().as_slice())?;
            for (piece, bytes) in (0..).zip(payload.bytes.chunks(CHUNK)) {
                chunks.insert((*number, piece), bytes)?;
            }
        }
    }
    commit(transaction, durability)
}

fn remove(
    records: &mut Table<'_, u64, &'static [u8]>,
    chunks: &mut Table<'_, (u64, u32), &'static [u8]>,
    number: u64,
) -> Result<(), redb::Error> {
    records.remove(number)?;
    let mut piece = 0;
    while chunks.remove((number, piece))?.is_some() {
        piece += 1;
    }
    Ok(())
}

fn commit(mut transaction: WriteTransaction, durability: Durability) -> Result<(), redb::Error> {
    transaction
        .set_durability(durability)
        .map_err(|error| redb::Error::Corrupted(error.to_string()))?;
    transaction.set_quick_repair(matches!(durability, Durability::Immediate));
    transaction.commit()?;
    Ok(())
}

/// Reads a payload.
pub(super) fn load(
    database: &Database,
    number: u64,
) -> Result<Result<Payload, Damage>, redb::Error> {
    let transaction = database.begin_read()?;
    let records = transaction.open_table(RECORDS)?;
    let chunks = transaction.open_table(CHUNKS)?;
    let Some(header) = records.get(number)? else {
        return Ok(Err(Damage::Missing));
    };
    let header = match Header::decode(header.value()) {
        Ok(header) => header,
        Err(damage) => return Ok(Err(damage)),
    };
    let mut bytes = Vec::new();
    for row in chunks.range((number, 0)..=(number, u32::MAX))? {
        bytes.extend_from_slice(row?.1.value());
        if bytes.len() as u64 > header.length() {
            break;
        }
    }
    Ok(header.with(bytes))
}

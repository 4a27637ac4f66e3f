//! The store as one would build it on SQLite, as well as we can: the opponent of `compare.rs`.
//!
//! - a write-ahead log, synced with every commit, as safe as ours; a cache of the same size, and the file mapped into memory;
//! - statuses without a row id, so that their key is the table, and an index by which each level of a retry expression is one
//!   range of keys that holds all that selection asks for;
//! - a connection gets its status with the import, so that selection never has to look for those that have none;
//! - prepared statements, and one transaction for each group.

use std::path::Path;

use rusqlite::{Connection, Result, params};

/// A connection with its status: what both stores keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Number of the connection.
    pub no: i64,
    /// The cxnId.
    pub cxn_id: String,
    /// 0..=10000.
    pub batch_code: u16,
    /// The raw secret.
    pub secret: [u8; 32],
    /// The siteUrl.
    pub site_url: String,
    /// Level of the retry expression.
    pub level: u32,
    /// Failures in a row.
    pub count: u32,
    /// UTC seconds.
    pub last_run: i64,
    /// What else a status tells, encoded.
    pub history: Vec<u8>,
}

/// An open database.
pub struct Sqlite(Connection);

const SCHEMA: &str = "
    CREATE TABLE shared (no INTEGER PRIMARY KEY, app_url TEXT NOT NULL, perm TEXT NOT NULL);
    CREATE TABLE cxn (
        no INTEGER PRIMARY KEY, cxn_id TEXT NOT NULL UNIQUE, batch_code INTEGER NOT NULL, secret BLOB NOT NULL,
        site_url TEXT NOT NULL, via_port TEXT, shared INTEGER NOT NULL, disabled INTEGER NOT NULL DEFAULT 0);
    CREATE TABLE status (
        job INTEGER NOT NULL, no INTEGER NOT NULL, level INTEGER NOT NULL, count INTEGER NOT NULL,
        last_run INTEGER NOT NULL, batch_code INTEGER NOT NULL, history BLOB NOT NULL,
        PRIMARY KEY (job, no)) WITHOUT ROWID;
    CREATE INDEX due ON status (job, level, last_run, batch_code);";

impl Sqlite {
    /// Opens a database, and makes its tables where it is new.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn open(path: &Path) -> Result<Self> {
        let new = !path.exists();
        let connection = Connection::open(path)?;
        connection.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -32768; PRAGMA mmap_size = 1073741824;",
        )?;
        if new {
            connection.execute_batch(SCHEMA)?;
            connection.execute("INSERT INTO shared VALUES (0, 'https://myapp.example.org/cxn', 'null')", [])?;
        }
        Ok(Self(connection))
    }

    /// Adds connections in one transaction, durably.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn import(&mut self, rows: &[Row]) -> Result<()> {
        let transaction = self.0.transaction()?;
        {
            let mut cxn = transaction.prepare_cached(
                "INSERT INTO cxn (no, cxn_id, batch_code, secret, site_url, shared) VALUES (?, ?, ?, ?, ?, 0)",
            )?;
            let mut status = transaction.prepare_cached("INSERT INTO status VALUES (0, ?, ?, ?, ?, ?, ?)")?;
            for row in rows {
                cxn.execute(params![row.no, row.cxn_id, row.batch_code, row.secret, row.site_url])?;
                status.execute(params![row.no, row.level, row.count, row.last_run, row.batch_code, row.history])?;
            }
        }
        transaction.commit()
    }

    /// Gives those connections a status that have none, as cxnapp does it before each run: by a join of all.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn take_in(&self) -> Result<usize> {
        self.0
            .prepare_cached(
                "INSERT INTO status SELECT 0, c.no, 0, 0, 0, c.batch_code, x'' FROM cxn c
                 LEFT JOIN status s ON s.job = 0 AND s.no = c.no WHERE s.no IS NULL",
            )?
            .execute([])
    }

    /// Finds the connections that are due, given for each level the latest lastRun that is, and loads the first `load` of
    /// them. Returns how many are due, and those.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn select(&self, latest: &[i64], load: usize) -> Result<(usize, Vec<Row>)> {
        let mut find = self.0.prepare_cached(
            "SELECT no, last_run FROM status WHERE job = 0 AND level = ? AND last_run <= ? AND batch_code BETWEEN 0 AND 10000",
        )?;
        let mut due = Vec::new();
        for (level, latest) in latest.iter().enumerate() {
            let found =
                find.query_map(params![level, latest], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))?;
            for one in found {
                due.push(one?);
            }
        }
        let mut get = self.0.prepare_cached(
            "SELECT c.cxn_id, c.batch_code, c.secret, c.site_url, c.via_port, c.shared, c.disabled, s.level, s.count,
                    s.last_run, s.history
             FROM cxn c JOIN status s ON s.job = 0 AND s.no = c.no WHERE c.no = ?",
        )?;
        let loaded = due.iter().take(load).map(|(no, _)| {
            get.query_row([no], |row| {
                Ok(Row {
                    no: *no,
                    cxn_id: row.get(0)?,
                    batch_code: row.get(1)?,
                    secret: row.get(2)?,
                    site_url: row.get(3)?,
                    level: row.get(7)?,
                    count: row.get(8)?,
                    last_run: row.get(9)?,
                    history: row.get(10)?,
                })
            })
        });
        let loaded = loaded.collect::<Result<_>>()?;
        Ok((due.len(), loaded))
    }

    /// Records outcomes in one transaction, durably: each only where the status is still the one that was selected. Tells
    /// how many were recorded.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn record(&mut self, outcomes: &[(Row, Row)]) -> Result<usize> {
        let transaction = self.0.transaction()?;
        let mut recorded = 0;
        {
            let mut update = transaction.prepare_cached(
                "UPDATE status SET level = ?, count = ?, last_run = ?, history = ?
                 WHERE job = 0 AND no = ? AND level = ? AND count = ? AND last_run = ?",
            )?;
            for (selected, next) in outcomes {
                recorded += update.execute(params![
                    next.level,
                    next.count,
                    next.last_run,
                    next.history,
                    selected.no,
                    selected.level,
                    selected.count,
                    selected.last_run
                ])?;
            }
        }
        transaction.commit()?;
        Ok(recorded)
    }
}

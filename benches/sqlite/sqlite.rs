//! A store on SQLite, tuned as well as we can, which `compare.rs` compares with that of `cxnpoll`.
//!
//! - It uses a write-ahead log that is synced with every commit, so it is equally durable. It has a cache of the same
//!   size and maps the file into memory.
//! - The table of statuses has no row id and is stored in the order of its primary key. An index covers selection: the
//!   due connections of each level of a retry expression are one range of it.
//! - A connection gets its status with the import, so that selection need not look for connections without one.
//! - Statements are prepared once per connection to the database, and each group is one transaction.

use std::path::Path;

use rusqlite::{Connection, Result, params};

/// A connection with its poll status, the data that both stores keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The number of the connection.
    pub number: i64,
    /// The cxnId.
    pub cxn_id: String,
    /// The batch code, 0 to 10000.
    pub batch_code: u16,
    /// The raw secret.
    pub secret: [u8; 32],
    /// The siteUrl.
    pub site_url: String,
    /// The level of the retry expression.
    pub level: u32,
    /// The number of consecutive failures on this level.
    pub count: u32,
    /// The time of the last poll, in Unix seconds.
    pub last_run: i64,
    /// The rest of the status, encoded.
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
    /// Opens a database, and creates it if it does not exist.
    ///
    /// # Errors
    /// Returns the errors of SQLite.
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
    /// Returns the errors of SQLite.
    pub fn import(&mut self, rows: &[Row]) -> Result<()> {
        let transaction = self.0.transaction()?;
        {
            let mut cxn = transaction.prepare_cached(
                "INSERT INTO cxn (no, cxn_id, batch_code, secret, site_url, shared) VALUES (?, ?, ?, ?, ?, 0)",
            )?;
            let mut status = transaction.prepare_cached("INSERT INTO status VALUES (0, ?, ?, ?, ?, ?, ?)")?;
            for row in rows {
                cxn.execute(params![row.number, row.cxn_id, row.batch_code, row.secret, row.site_url])?;
                status.execute(params![row.number, row.level, row.count, row.last_run, row.batch_code, row.history])?;
            }
        }
        transaction.commit()
    }

    /// Inserts a status for every connection that has none, and returns their number.
    ///
    /// It joins both tables, as cxnapp does before each run.
    ///
    /// # Errors
    /// Returns the errors of SQLite.
    pub fn backfill(&self) -> Result<usize> {
        self.0
            .prepare_cached(
                "INSERT INTO status SELECT 0, c.no, 0, 0, 0, c.batch_code, x'' FROM cxn c
                 LEFT JOIN status s ON s.job = 0 AND s.no = c.no WHERE s.no IS NULL",
            )?
            .execute([])
    }

    /// Finds the connections that are due, and loads the first `load` of them.
    ///
    /// `latest` holds, for each level, the latest lastRun of a connection that is due. Returns the number of connections
    /// that are due, and the loaded ones.
    ///
    /// # Errors
    /// Returns the errors of SQLite.
    pub fn select(&self, latest: &[i64], load: usize) -> Result<(usize, Vec<Row>)> {
        let mut find = self.0.prepare_cached(
            "SELECT no, last_run FROM status WHERE job = 0 AND level = ? AND last_run <= ? AND batch_code BETWEEN 0 AND 10000",
        )?;
        let mut due = Vec::new();
        for (level, latest) in latest.iter().enumerate() {
            let found =
                find.query_map(params![level, latest], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))?;
            for cxn in found {
                due.push(cxn?);
            }
        }
        let mut get = self.0.prepare_cached(
            "SELECT c.cxn_id, c.batch_code, c.secret, c.site_url, c.via_port, c.shared, c.disabled, s.level, s.count,
                    s.last_run, s.history
             FROM cxn c JOIN status s ON s.job = 0 AND s.no = c.no WHERE c.no = ?",
        )?;
        let loaded = due.iter().take(load).map(|(number, _)| {
            get.query_row([number], |row| {
                Ok(Row {
                    number: *number,
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

    /// Records outcomes durably, in one transaction, and returns how many were recorded.
    ///
    /// An outcome is a selected row and the next one. It is recorded only if the status is still that of the selected row.
    ///
    /// # Errors
    /// Returns the errors of SQLite.
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
                    selected.number,
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

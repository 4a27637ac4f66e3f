//! What a run did, as it is stored with its job.

use std::net::IpAddr;

use bincode::de::Decoder;
use bincode::enc::Encoder;
use bincode::error::{DecodeError, EncodeError};
use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

use super::host_key::HostHash;
use crate::model::{BatchCode, FailureClass, Fault, Lateness, UnixTime};

/// Runs further apart, in seconds, are not a series of outages.
const MAX_GAP_S: UnixTime = 86_400;

/// A job remembers at most this many skipped hosts of its last run, and their names.
///
/// Every run reads and writes the record of its job, so this may take no more than 12 KiB of it.
const MAX_SKIPPED_HOSTS: usize = 64;
const MAX_SKIPPED_NAMES: usize = 1_024;

/// What a run did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunRecord {
    /// The time at which the run checked what is due, UTC seconds.
    pub now: UnixTime,
    /// The batch, `id/count`.
    pub batch: String,
    /// How many connections were due.
    pub due: u64,
    /// How many were polled.
    pub polled: u64,
    /// How many of these succeeded.
    pub ok: u64,
    /// How many failed, and had the failure counted.
    pub failed: u64,
    /// How many asked to be deferred.
    pub deferred: u64,
    /// How many outcomes were not recorded.
    ///
    /// Then the connection was changed during its poll, its failure was our own fault, or a listener program did not work.
    pub dropped: u64,
    /// How many were given up by this run.
    pub given_up: u64,
    /// Failures by the number of their class.
    pub failures: Vec<(u8, u64)>,
    /// Wall time of the run until its last session, milliseconds.
    pub elapsed_ms: u64,
    /// Whether it ended for a fault of this machine, its network or its configuration.
    ///
    /// `false` if this machine could not try some sites only.
    pub outage: bool,
    /// The fault that it met; `None` if it met none, or a former build recorded it.
    #[serde(default, with = "fault_by_number")]
    pub outage_cause: Option<Fault>,
    /// How many were left to the next run, because their host was down or asked to wait.
    #[serde(default)]
    pub skipped: u64,
    /// The hosts of these. A store keeps a bounded part of them, and a backup leaves out their names.
    #[serde(default, with = "hosts_by_number")]
    pub skipped_hosts: Vec<SkippedHost>,
    /// How late its polls began. New sites have no due time, and are left out.
    ///
    /// `None` if it polled no others, or a former build recorded it.
    #[serde(default)]
    pub lateness_s: Option<Lateness>,
    /// Since when the runs of its batch cannot keep up; `None` if they can.
    #[serde(default)]
    pub behind_since: Option<UnixTime>,
}

/// A host whose sites a run left to the next one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedHost {
    /// The address.
    pub address: IpAddr,
    /// Why.
    pub reason: SkipReason,
    /// How many sites were left.
    pub sites: u64,
    /// The hashes of the names of their hosts, each once; not all of them if there are many.
    pub names: Vec<HostHash>,
}

/// A run that ended for our own fault.
///
/// From then on nothing is known of the sites of its batch until their next polls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunOutage {
    /// The time at which the run checked what is due, UTC seconds.
    pub at: UnixTime,
    /// The first batch code that the run covered.
    pub first: u16,
    /// The last batch code that the run covered.
    pub last: u16,
}

impl RunOutage {
    /// The times of those of outages whose runs covered a batch code.
    pub fn times_for(outages: &[Self], batch_code: BatchCode) -> impl Iterator<Item = UnixTime> {
        let code = batch_code.get();
        outages.iter().filter(move |outage| (outage.first..=outage.last).contains(&code)).map(|outage| outage.at)
    }
}

/// Why a run does not call a host any longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum SkipReason {
    /// Its polls could not connect, or timed out.
    Down = 1,
    /// Two of its sites asked to wait.
    AskedToWait = 2,
}

impl SkipReason {
    /// All reasons.
    pub const ALL: [Self; 2] = [Self::Down, Self::AskedToWait];

    /// The name in JSON and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::AskedToWait => "asked-to-wait",
        }
    }
}

impl SkippedHost {
    /// A host that was stored; `None` if this program does not know the number of its reason.
    pub(super) fn from_stored(address: IpAddr, reason: u8, sites: u64, names: Vec<HostHash>) -> Option<Self> {
        let reason = SkipReason::ALL.into_iter().find(|known| *known as u8 == reason)?;
        Some(Self { address, reason, sites, names })
    }
}

/// Leaves out the fields from `outage_cause` on, which the record of a job has at its end.
impl Encode for RunRecord {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        let counts = (self.due, self.polled, self.ok, self.failed, self.deferred, self.dropped, self.given_up);
        (self.now, &self.batch, counts, &self.failures, self.elapsed_ms, self.outage).encode(encoder)
    }
}

impl<C> Decode<C> for RunRecord {
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let (now, batch, counts, failures, elapsed_ms, outage) = Decode::decode(decoder)?;
        let (due, polled, ok, failed, deferred, dropped, given_up) = counts;
        Ok(Self {
            now,
            batch,
            due,
            polled,
            ok,
            failed,
            deferred,
            dropped,
            given_up,
            failures,
            elapsed_ms,
            outage,
            ..Self::default()
        })
    }
}

bincode::impl_borrow_decode!(RunRecord);

/// A fault by its number in a backup. A number that this program does not know is none.
mod fault_by_number {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::model::Fault;

    #[expect(clippy::ref_option, clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    pub fn serialize<S: Serializer>(fault: &Option<Fault>, serializer: S) -> Result<S::Ok, S::Error> {
        fault.map(|fault| fault as u8).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Fault>, D::Error> {
        Ok(Option::deserialize(deserializer)?.and_then(Fault::from_number))
    }
}

/// Skipped hosts in a backup: address, number of the reason, sites.
///
/// It has no names, since their hashes mean nothing in another store.
mod hosts_by_number {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::SkippedHost;

    pub fn serialize<S: Serializer>(hosts: &[SkippedHost], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(hosts.iter().map(|host| (host.address, host.reason as u8, host.sites)))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<SkippedHost>, D::Error> {
        let hosts: Vec<_> = Deserialize::deserialize(deserializer)?;
        let known = |(address, reason, sites)| SkippedHost::from_stored(address, reason, sites, Vec::new());
        Ok(hosts.into_iter().filter_map(known).collect())
    }
}

impl RunRecord {
    /// The skipped hosts, those with the most sites first.
    #[must_use]
    pub fn skipped_hosts_by_sites(&self) -> Vec<&SkippedHost> {
        let mut hosts: Vec<_> = self.skipped_hosts.iter().collect();
        hosts.sort_by_key(|host| (std::cmp::Reverse(host.sites), host.address));
        hosts
    }

    /// The part of the skipped hosts that is stored, those with the most sites first.
    ///
    /// If there are too many names, each host keeps its share of them.
    pub(super) fn skipped_hosts_to_store(&self) -> Vec<SkippedHost> {
        let hosts = self.skipped_hosts_by_sites().into_iter().take(MAX_SKIPPED_HOSTS);
        let mut hosts: Vec<_> = hosts.cloned().collect();
        let mut by_names: Vec<_> = hosts.iter_mut().map(|host| &mut host.names).collect();
        by_names.sort_by_key(|names| names.len());
        let (mut left, hosts_left) = (MAX_SKIPPED_NAMES, (1..=by_names.len()).rev());
        for (names, hosts_left) in by_names.into_iter().zip(hosts_left) {
            names.truncate(left / hosts_left);
            left -= names.len();
        }
        hosts
    }

    /// Whether it met a fault of this machine, its network or its configuration.
    #[must_use]
    pub fn is_own_fault(&self) -> bool {
        self.outage || self.outage_cause.is_some()
    }

    /// Failures by class. Numbers of classes that this program does not know are left out.
    pub fn failures(&self) -> impl Iterator<Item = (FailureClass, u64)> {
        self.failures.iter().filter_map(|(class, count)| Some((FailureClass::from_number(*class)?, *count)))
    }

    /// Whether a series of outages goes on with a run at `now`.
    ///
    /// The series began at `since`, and this is its last run. It does not go on after a day without a run, or where the clock
    /// was wrong, because nothing was tried for so long.
    #[must_use]
    pub fn continues_outage(&self, since: UnixTime, now: UnixTime) -> bool {
        (since..=now).contains(&self.now) && now - self.now < MAX_GAP_S
    }

    /// Since when all runs have ended in an outage, up to this one.
    ///
    /// `since` is the same up to the run before.
    ///
    /// `None` means that this run did not end in one. A run that polled nothing shows neither.
    #[must_use]
    pub fn outage_since(&self, since: Option<UnixTime>) -> Option<UnixTime> {
        if self.outage {
            return since.or(Some(self.now));
        }
        if self.polled == 0 { since } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn runs_a_day_apart_or_with_a_wrong_clock_are_no_series_of_outages() {
        let continues = |since, last, now| RunRecord { now: last, ..RunRecord::default() }.continues_outage(since, now);
        assert!(continues(100, 100, 100) && continues(100, 5000, 5000 + MAX_GAP_S - 1));
        assert!(!continues(100, 5000, 5000 + MAX_GAP_S), "a day without a run");
        assert!(!continues(9000, 9000, 5000), "the clock was ahead");
        assert!(!continues(100, 9000, 5000), "the clock was ahead in the last run");
    }

    #[test]
    fn the_line_of_a_backup_reads_back_and_a_former_one_has_no_cause() {
        let run = RunRecord {
            outage: true,
            outage_cause: Some(Fault::Clock),
            skipped: 3,
            lateness_s: Some(Lateness { p50: 0, p95: 12, max: 90 }),
            behind_since: Some(5),
            ..RunRecord::default()
        };
        let read = |line: &Value| RunRecord::deserialize(line).unwrap();
        let mut line = serde_json::to_value(&run).unwrap();
        assert_eq!((&line["outageCause"], read(&line)), (&json!(9), run.clone()));
        line["outageCause"] = json!(250);
        assert_eq!(read(&line), RunRecord { outage_cause: None, ..run.clone() });
        assert_eq!(line["latenessS"], json!({"p50": 0, "p95": 12, "max": 90}));
        let new = ["outageCause", "skipped", "skippedHosts", "latenessS", "behindSince"];
        line.as_object_mut().unwrap().retain(|key, _| !new.contains(&&**key));
        let former = RunRecord { outage_cause: None, skipped: 0, lateness_s: None, behind_since: None, ..run };
        assert_eq!(read(&line), former);
    }

    fn host(number: u16, sites: u64, names: usize) -> SkippedHost {
        let [high, low] = number.to_be_bytes();
        let address = IpAddr::from([203, 0, high, low]);
        SkippedHost { address, reason: SkipReason::Down, sites, names: vec![u64::MAX; names] }
    }

    #[test]
    fn a_backup_has_the_skipped_hosts_without_names() {
        let waits =
            SkippedHost { reason: SkipReason::AskedToWait, address: "2001:db8::7".parse().unwrap(), ..host(0, 2, 0) };
        let run = RunRecord { skipped_hosts: vec![host(7, 96, 3), waits.clone()], ..RunRecord::default() };
        let mut line = serde_json::to_value(&run).unwrap();
        assert_eq!(line["skippedHosts"], json!([["203.0.0.7", 1, 96], ["2001:db8::7", 2, 2]]));
        assert_eq!(RunRecord::deserialize(&line).unwrap().skipped_hosts, [host(7, 96, 0), waits.clone()]);
        line["skippedHosts"][0][1] = json!(250);
        assert_eq!(RunRecord::deserialize(&line).unwrap().skipped_hosts, [waits]);
    }

    #[test]
    fn a_bounded_part_of_the_skipped_hosts_is_stored() {
        let stored = |hosts: Vec<SkippedHost>| {
            RunRecord { skipped_hosts: hosts, ..RunRecord::default() }.skipped_hosts_to_store()
        };
        let hosts = stored((0..200).map(|number| host(number, number.into(), 1)).collect());
        assert_eq!((hosts.len(), hosts[0].sites, hosts[63].sites), (MAX_SKIPPED_HOSTS, 199, 136));
        let names = |names: &[usize]| -> Vec<usize> {
            let hosts = (0..).zip(names).map(|(number, names)| host(number, 100 - u64::from(number), *names));
            stored(hosts.collect()).iter().map(|host| host.names.len()).collect()
        };
        assert_eq!(names(&[5_000]), [MAX_SKIPPED_NAMES]);
        assert_eq!(names(&[5_000, 24, 3_000, 0]), [500, 24, 500, 0]);
        assert_eq!(names(&[1_000, 24]), [1_000, 24]);
        let record = stored((0..200).map(|number| host(number, u64::MAX, 200)).collect());
        let stored = record.iter().map(|host| (host.address, host.reason as u8, host.sites, &host.names));
        let bytes = bincode::encode_to_vec(stored.collect::<Vec<_>>(), bincode::config::standard()).unwrap();
        assert!(bytes.len() < 12 << 10, "{}", bytes.len());
    }

    #[test]
    fn an_outage_lasts_until_a_run_reaches_the_network() {
        let run = |now, polled, outage| RunRecord { now, polled, outage, ..RunRecord::default() };
        assert_eq!(run(100, 3, true).outage_since(None), Some(100));
        assert_eq!(run(200, 3, true).outage_since(Some(100)), Some(100));
        assert_eq!(run(300, 0, true).outage_since(Some(100)), Some(100));
        assert_eq!(run(300, 0, false).outage_since(Some(100)), Some(100), "nothing was polled");
        assert_eq!(run(300, 0, false).outage_since(None), None);
        assert_eq!(run(300, 1, false).outage_since(Some(100)), None);
    }
}

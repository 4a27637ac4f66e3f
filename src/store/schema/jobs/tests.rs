use super::*;
use crate::store::schema::SkipReason;

#[test]
fn a_job_reads_back_and_a_former_one_lacks_newer_fields() {
    let run = RunRecord {
        batch: "0/1".to_owned(),
        due: 9,
        failures: vec![(4, 2)],
        outage: true,
        skipped: 300,
        outage_cause: Some(Fault::Clock),
        skipped_hosts: vec![SkippedHost {
            address: [203, 0, 113, 7].into(),
            reason: SkipReason::AskedToWait,
            sites: 300,
            names: vec![HostHash::MAX],
        }],
        lateness_s: Some(Lateness { p50: 1, p95: 2, max: 3 }),
        behind_since: Some(6),
        ..RunRecord::default()
    };
    let mut record = JobRecord { outage_since: Some(5), ..JobRecord::new(1, &JobName::default()) };
    record.set_last_run(Some(&run));
    let bytes = record.to_bytes().unwrap();
    let read = |bytes: &[u8]| JobRecord::from_bytes(bytes).map(JobRecord::into_last_run);
    assert_eq!(read(&bytes), Ok(Some(run.clone())));

    let lateness = bytes.len() - 7;
    let hosts = lateness - 20;
    let former = |version, end| [&[version], &bytes[1..end]].concat();
    assert_eq!(read(&former(4, bytes.len() - 1)), Ok(Some(run.clone())));
    let without_lateness = RunRecord { lateness_s: None, behind_since: None, ..run.clone() };
    assert_eq!(read(&former(3, lateness)), Ok(Some(without_lateness.clone())));
    let without_hosts = RunRecord { skipped_hosts: Vec::new(), ..without_lateness };
    assert_eq!(read(&former(2, hosts)), Ok(Some(without_hosts.clone())));
    let without_cause = RunRecord { skipped: 0, outage_cause: None, ..without_hosts.clone() };
    assert_eq!(read(&former(1, hosts - 4)), Ok(Some(without_cause)));
    let with = |at: usize, byte: u8| [&bytes[..at], &[byte], &bytes[at + 1..]].concat();
    assert_eq!(read(&with(hosts - 1, 250)), Ok(Some(RunRecord { outage_cause: None, ..run.clone() })));
    assert_eq!(read(&with(hosts + 6, 250)), Ok(Some(RunRecord { skipped_hosts: Vec::new(), ..run })));
    record.set_last_run(None);
    assert_eq!(record, JobRecord { outage_since: Some(5), ..JobRecord::new(1, &JobName::default()) });
}

#[test]
fn a_job_remembers_the_runs_that_ended_in_an_outage() {
    let mut record = JobRecord::new(1, &JobName::default());
    let run = |now, batch: &str, ok| RunRecord { now, batch: batch.into(), ok, outage: true, ..RunRecord::default() };
    record.add_outage(&run(100, "0/1", 3), false);
    record.add_outage(&run(200, "0/1", 0), true);
    record.add_outage(&run(300, "0/1", 1), true);
    record.add_outage(&run(400, "1/2", 0), true);
    record.add_outage(&RunRecord { outage: false, ..run(500, "0/1", 9) }, false);
    record.add_outage(&run(600, "0/1", 0), false);
    let of = |code: u16| RunOutage::times_for(&record.outages, code.try_into().unwrap()).collect::<Vec<_>>();
    assert_eq!((of(4_999), of(5_000)), (vec![100, 300, 600], vec![100, 300, 400, 600]));
    (1000..1100).for_each(|now| record.add_outage(&run(now, "0/1", 0), false));
    assert_eq!((record.outages.len(), record.outages[0].at), (MAX_OUTAGES, 1036));
}

#[test]
fn a_backfill_passes_connections_in_the_order_of_their_keys() {
    let locator = |code: u16, seq| CxnLocator { batch_code: code.try_into().unwrap(), seq };
    let job = |backfilled| Job { backfilled, ..Job::unknown(1, 1, JobName::default()) };
    let up_to = job(BackfillProgress::UpTo(5, 10));
    for (code, seq, passed) in [(5, 10, true), (5, 11, false), (4, 99, true), (6, 0, false)] {
        assert_eq!(up_to.has_backfilled(locator(code, seq)), passed, "{code} {seq}");
    }
    assert!(!job(BackfillProgress::Nothing).has_backfilled(locator(0, 0)));
    assert!(job(BackfillProgress::All).has_backfilled(locator(10_000, u64::MAX)));
}

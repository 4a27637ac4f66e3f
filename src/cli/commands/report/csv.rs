//! The report as CSV.

use std::io::{self, Write};

use csv::WriterBuilder;

use crate::report::Ledger;
use crate::transfer::csv_cell;
use crate::util::time::rfc3339;

const HEADER: [&str; 10] =
    ["cxnId", "siteUrl", "appId", "jobName", "availability", "upS", "downS", "unknownS", "incidents", "downSince"];

/// Writes a header, and a line for each site and job. Texts that a spreadsheet would run begin with a quote.
pub(super) fn write(ledger: &Ledger, out: &mut impl Write) -> io::Result<()> {
    let mut writer = WriterBuilder::new().from_writer(out);
    writer.write_record(HEADER)?;
    for site in ledger.sites() {
        writer.write_record([
            csv_cell(site.cxn_id.as_str()),
            csv_cell(&site.site_url.to_string()),
            site.app_id.to_string(),
            site.job.to_string(),
            site.times.availability().map_or_else(String::new, |part| part.to_string()),
            site.times.up_s.to_string(),
            site.times.down_s.to_string(),
            site.times.unknown_s.to_string(),
            site.incidents.len().to_string(),
            site.failing_since().map_or_else(String::new, rfc3339),
        ])?;
    }
    writer.flush()
}

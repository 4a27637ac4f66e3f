//! Signals, pauses, calendars and clocks.

cases! {
    clock_little_ahead,
    clock_was_ahead,
    clock_was_hours_ahead,
    early_start_daily,
    early_start_five_minutes,
    early_start_one_minute,
    hangup_ends_a_run_well,
    hangup_twice,
    hangup_under_nohup,
    month_end_april,
    month_end_failing_sites,
    month_end_january,
    month_end_leap_day_year,
    month_end_status,
    month_end_two_months,
    paused_run,
}

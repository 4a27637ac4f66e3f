//! Availability and incidents as they are in JSON.

use serde_json::{Map, Value, json};

use crate::report::{Incident, Times};

/// The times as they are in JSON.
pub(super) fn times_json(times: &Times) -> Map<String, Value> {
    let values = [
        ("availability", json!(times.availability())),
        ("upS", json!(times.up_s)),
        ("downS", json!(times.down_s)),
        ("unknownS", json!(times.unknown_s)),
    ];
    values.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// The value of `last30Days`: the times, and the incidents if they are given.
///
/// Null if nothing is known.
pub(super) fn last_30_days_json(times: &Times, incidents: Option<Value>) -> Value {
    if times.availability().is_none() {
        return Value::Null;
    }
    let mut json = times_json(times);
    json.extend(incidents.map(|incidents| ("incidents".to_owned(), incidents)));
    Value::Object(json)
}

/// The incidents as they are in JSON.
pub(super) fn incidents_json(incidents: &[Incident]) -> Value {
    incidents
        .iter()
        .map(|incident| json!({"from": incident.from, "to": incident.to, "class": incident.class}))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::FailureClass;

    #[test]
    fn times_without_any_known_are_null() {
        let times = Times { up_s: 3, down_s: 1, unknown_s: 5 };
        let class = Some(FailureClass::Timeout);
        let incidents =
            incidents_json(&[Incident { from: 1, to: Some(2), class }, Incident { from: 4, to: None, class: None }]);
        let expected = json!({"availability": 0.75, "upS": 3, "downS": 1, "unknownS": 5, "incidents": [
            {"from": 1, "to": 2, "class": "timeout"}, {"from": 4, "to": null, "class": null},
        ]});
        assert_eq!(last_30_days_json(&times, Some(incidents)), expected);
        assert_eq!(last_30_days_json(&Times { up_s: 0, down_s: 0, unknown_s: 5 }, Some(json!([]))), Value::Null);
    }
}

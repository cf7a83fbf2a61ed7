//! When `run --at` starts.

use jiff::civil::{DateTime, Time};
use jiff::{SignedDuration, Timestamp, ToSpan as _, ZonedDateTime};

/// A time of day that has just passed was meant for today.
const JUST_PASSED: SignedDuration = SignedDuration::from_hours(1);

/// Reads a time: with an offset (`2027-01-15T20:00Z`), a local one (`2027-01-15T20:00`), or a local time of day (`20:00`), which
/// is the next one.
///
/// # Errors
/// What is wrong with it, for people.
pub fn parse(text: &str, now: &ZonedDateTime) -> Result<Timestamp, String> {
    let wrong = || {
        format!("--at {text}, expected a time such as 2027-01-15T20:00Z, or 20:00 in local time")
    };
    if !text.contains(':') {
        return Err(wrong());
    }
    let zone = now.time_zone();
    let local = |time: DateTime| {
        time.to_zoned_datetime(zone.clone())
            .map(|time| time.timestamp())
    };
    let (time, is_of_day) = if let Ok(time) = text.parse::<Timestamp>() {
        (time, false)
    } else if let Ok(time) = text.parse::<DateTime>() {
        (local(time).map_err(|_| wrong())?, false)
    } else if let Ok(time) = text.parse::<Time>() {
        let today = now.date().to_datetime(time);
        (local(today).map_err(|_| wrong())?, true)
    } else {
        return Err(wrong());
    };
    let late = now.timestamp().duration_since(time);
    if late < SignedDuration::ZERO {
        return Ok(time);
    }
    if is_of_day && late > JUST_PASSED {
        let tomorrow = now.date().checked_add(1.day()).map_err(|_| wrong())?;
        let time = text.parse::<Time>().map_err(|_| wrong())?;
        return local(tomorrow.to_datetime(time)).map_err(|_| wrong());
    }
    Err(format!(
        "--at {text} was {} ago; leave it out to start at once",
        spoken(late)
    ))
}

/// A span for people: `2 h 05 min`, `12 min`, `45 s`.
pub fn spoken(span: SignedDuration) -> String {
    let seconds = span.as_secs().max(0);
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) if minutes < 10 => format!("{minutes} min {seconds:02} s"),
        (0, minutes, _) => format!("{minutes} min"),
        (hours, minutes, _) => format!("{hours} h {minutes:02} min"),
    }
}

/// Whether a wait of so many seconds is worth a line: each full hour, and closer and closer to its end.
pub fn is_worth_a_line(seconds: i64) -> bool {
    seconds % 3600 == 0 || [1800, 600, 300, 60, 30, 10].contains(&seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, now: &str) -> Result<String, String> {
        parse(text, &now.parse().unwrap()).map(|time| time.to_string())
    }

    const NOW: &str = "2027-01-15T19:30:00+01:00[Europe/Berlin]";

    #[test]
    fn a_time_is_read_with_and_without_its_zone() {
        let read = |text: &str| at(text, NOW).unwrap();
        assert_eq!(read("2027-01-15T20:00Z"), "2027-01-15T20:00:00Z");
        assert_eq!(read("2027-01-15T21:00:30+02:00"), "2027-01-15T19:00:30Z");
        assert_eq!(read("2027-07-15T20:00"), "2027-07-15T18:00:00Z");
        assert_eq!(read("2027-01-16 20:00"), "2027-01-16T19:00:00Z");
        assert_eq!(read("20:00"), "2027-01-15T19:00:00Z");
        // The next one.
        assert_eq!(read("07:15"), "2027-01-16T06:15:00Z");
    }

    #[test]
    fn a_time_that_has_passed_is_refused() {
        for (text, said) in [
            ("19:29", "was 1 min 00 s ago"),
            ("18:30", "was 1 h 00 min ago"),
            ("2027-01-15T18:30Z", "was 0 s ago"),
            ("2026-01-15T18:30Z", "was 8760 h 00 min ago"),
            ("tomorrow", "expected a time"),
            ("25:00", "expected a time"),
            ("2027-01-15", "expected a time"),
        ] {
            let error = at(text, NOW).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }
}

//! Ticks at round values.

/// Ticks further than this from 0, in steps, would have labels of too many digits.
const EXACT_STEPS: f64 = 1e6;

/// Round values from `low` to `high`, at most about `count` of them, with as many decimals as they need.
pub(super) fn ticks(low: f64, high: f64, count: usize) -> Vec<(f64, String)> {
    let step = step(high - low, count);
    let decimals = (-step.log10().floor()).max(0.0) as usize;
    if low.abs().max(high.abs()) / step > EXACT_STEPS {
        return Vec::new();
    }
    let (first, last) = ((low / step - 1e-9).ceil() as i64, (high / step + 1e-9).floor() as i64);
    (first..=last)
        .map(|tick| {
            // From the number of steps, so that nothing adds up, and 0 is not a negative one.
            let value = tick as f64 * step;
            (value, label(value, decimals))
        })
        .collect()
}

/// The range that begins and ends at a tick and holds both values.
pub(super) fn rounded(low: f64, high: f64, count: usize) -> (f64, f64) {
    let step = step(high - low, count);
    ((low / step).floor() * step, (high / step).ceil() * step)
}

/// 1, 2 or 5 times a power of ten.
fn step(span: f64, count: usize) -> f64 {
    let rough = span / count.max(1) as f64;
    if !(rough.is_finite() && rough > 0.0) {
        return 1.0;
    }
    let power = 10_f64.powf(rough.log10().floor());
    let factors = [1.0, 2.0, 5.0];
    factors
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| *step >= rough * 0.999)
        .unwrap_or(10.0 * power)
}

fn label(value: f64, decimals: usize) -> String {
    if value != 0.0 && (value.abs() >= 1e7 || decimals > 6) {
        return format!("{value:e}").replace('-', "−");
    }
    let digits = format!("{:.decimals$}", value.abs());
    let (whole, fraction) = digits.split_once('.').map_or((digits.as_str(), None), |(w, f)| (w, Some(f)));
    let sign = if value < 0.0 { "−" } else { "" };
    let fraction = fraction.map(|fraction| format!(".{fraction}")).unwrap_or_default();
    format!("{sign}{}{fraction}", grouped(whole))
}

/// Digits in groups of three, from five digits on.
pub(super) fn grouped(digits: &str) -> String {
    if digits.len() < 5 {
        return digits.to_owned();
    }
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(low: f64, high: f64, count: usize) -> Vec<String> {
        ticks(low, high, count).into_iter().map(|tick| tick.1).collect()
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(labels(-1.0, 1.0, 4), ["−1.0", "−0.5", "0.0", "0.5", "1.0"]);
        assert_eq!(
            labels(0.0, 1_000_000.0, 5),
            ["0", "200,000", "400,000", "600,000", "800,000", "1,000,000"]
        );
        assert_eq!(labels(0.013, 0.041, 3), ["0.02", "0.03", "0.04"]);
        assert_eq!(labels(5.0, 5.0, 3), ["5"]);
        assert_eq!(rounded(0.013, 0.041, 3), (0.01, 0.05));
        assert_eq!(labels(0.0, 3e9, 3), ["0", "1e9", "2e9", "3e9"]);
        assert_eq!(labels(1e50, 1.0000001e50, 3), ["1e50"; 0]);
    }
}

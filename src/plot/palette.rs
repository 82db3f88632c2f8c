//! Colours of values. Steps of one size look of one size: both palettes are straight in Oklab (Ottosson 2020) in
//! lightness, so they are read without seeing hues, and the two ends of the one around zero are blue and red, which
//! those who do not tell red from green still tell apart.

use std::f64::consts::PI;

use super::scene::Colour;

/// What is not defined.
pub(super) const MISSING: Colour = Colour(226, 228, 231);
/// The lines across it.
pub(super) const MISSING_LINES: Colour = Colour(190, 195, 201);

/// How many colours a palette has; more are not told apart.
const SHADES: f64 = 255.0;

/// Which colour a value has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Palette {
    /// From -1, blue, over 0, nearly white, to 1, red.
    Signed,
    /// From the first value, light, to the second, dark. What is beyond has the colour of the end.
    Between(f64, f64),
}

impl Palette {
    pub(super) fn range(self) -> (f64, f64) {
        match self {
            Palette::Signed => (-1.0, 1.0),
            Palette::Between(low, high) => (low, high),
        }
    }

    /// The colour of a value that is defined.
    pub(super) fn colour(self, value: f64) -> Colour {
        let (low, high) = self.range();
        let share = ((value - low) / (high - low)).clamp(0.0, 1.0);
        let share = (share * SHADES).round() / SHADES;
        match self {
            Palette::Signed => signed(2.0 * share - 1.0),
            Palette::Between(..) => growing(share),
        }
    }
}

/// The colour to write in on a background.
pub(super) fn ink_on(background: Colour) -> Colour {
    if lightness(background) > 0.61 { super::scene::INK } else { super::scene::WHITE }
}

fn signed(value: f64) -> Colour {
    let size = value.abs();
    let (blue, red) = (255.0, 27.0);
    oklch(0.972 - 0.532 * size, 0.175 * size.powf(0.8), if value < 0.0 { blue } else { red })
}

fn growing(share: f64) -> Colour {
    oklch(0.975 - 0.655 * share, 0.02 + 0.082 * (PI * (0.1 + 0.7 * share)).sin(), 100.0 + 165.0 * share)
}

/// From lightness, chroma and hue in degrees.
fn oklch(lightness: f64, chroma: f64, hue: f64) -> Colour {
    let (a, b) = (chroma * hue.to_radians().cos(), chroma * hue.to_radians().sin());
    let cube = |x: f64| x * x * x;
    let l = cube(lightness + 0.3963377774 * a + 0.2158037573 * b);
    let m = cube(lightness - 0.1055613458 * a - 0.0638541728 * b);
    let s = cube(lightness - 0.0894841775 * a - 1.2914855480 * b);
    let channel = |linear: f64| {
        let linear = linear.clamp(0.0, 1.0);
        let encoded =
            if linear <= 0.0031308 { 12.92 * linear } else { 1.055 * linear.powf(1.0 / 2.4) - 0.055 };
        (encoded * 255.0).round() as u8
    };
    Colour(
        channel(4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s),
        channel(-1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s),
        channel(-0.0041960863 * l - 0.7034186147 * m + 1.7076147010 * s),
    )
}

/// Oklab's lightness, 0 to 1.
fn lightness(Colour(r, g, b): Colour) -> f64 {
    let linear = |channel: u8| {
        let encoded = f64::from(channel) / 255.0;
        if encoded <= 0.04045 { encoded / 12.92 } else { ((encoded + 0.055) / 1.055).powf(2.4) }
    };
    let (r, g, b) = (linear(r), linear(g), linear(b));
    let l = (0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b).cbrt();
    let m = (0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b).cbrt();
    let s = (0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b).cbrt();
    0.2104542553 * l + 0.7936177850 * m - 0.0040720468 * s
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lightness_falls_in_even_steps_away_from_nothing() {
        let check = |palette: Palette, values: [f64; 2]| {
            let at = |step: i32| {
                let share = f64::from(step) / 20.0;
                lightness(palette.colour(values[0] + share * (values[1] - values[0])))
            };
            let mean = (at(0) - at(20)) / 20.0;
            for step in 0..20 {
                let fall = at(step) - at(step + 1);
                assert!((fall / mean - 1.0).abs() < 0.35, "{palette:?} {step}: {fall} of {mean}");
            }
        };
        check(Palette::Signed, [0.0, 1.0]);
        check(Palette::Signed, [0.0, -1.0]);
        check(Palette::Between(3.0, 5.0), [3.0, 5.0]);
    }

    #[test]
    fn signs_are_told_apart_and_ends_hold_what_is_beyond() {
        let Colour(r, _, b) = Palette::Signed.colour(1.0);
        assert!(r > 150 && b < 80);
        let Colour(r, _, b) = Palette::Signed.colour(-1.0);
        assert!(b > 130 && r < 60);
        assert_eq!(Palette::Between(0.0, 0.5).colour(0.5), Palette::Between(0.0, 0.5).colour(1.0));
        assert!(lightness(Palette::Signed.colour(0.0)) > 0.95);
    }
}

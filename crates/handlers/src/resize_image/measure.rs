//! Which size an image gets. Pure.

use schemars::JsonSchema;
use serde::Deserialize;

/// What happens where the ratio of the size that is asked for is another than the image's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Fit {
    /// All of the image, within the size.
    #[default]
    Contain,
    /// All of the size, filled by the middle of the image.
    Cover,
    /// All of the image in all of the size, distorted.
    Exact,
}

/// A size in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) width: u32,
    pub(super) height: u32,
}

impl Size {
    pub(super) fn pixels(self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }

    pub(super) fn turned(self) -> Self {
        Self { width: self.height, height: self.width }
    }
}

/// The size that an image of size `source` gets. The error says what is wrong with the payload.
pub(super) fn measure(source: Size, new_x: Option<u32>, new_y: Option<u32>, fit: Fit) -> Result<Size, String> {
    for (member, given) in [("new_x", new_x), ("new_y", new_y)] {
        if given == Some(0) {
            return Err(format!("payload.{member}: an image has at least 1 pixel"));
        }
    }
    match (new_x, new_y) {
        (None, None) => Err("payload: says no size: give new_x, new_y or both, in pixels".to_owned()),
        (Some(width), None) => Ok(Size { width, height: share(source.height, width, source.width) }),
        (None, Some(height)) => Ok(Size { width: share(source.width, height, source.height), height }),
        (Some(width), Some(height)) if fit == Fit::Contain => {
            let by_width = share(source.height, width, source.width);
            if by_width <= height {
                Ok(Size { width, height: by_width })
            } else {
                Ok(Size { width: share(source.width, height, source.height), height })
            }
        }
        (Some(width), Some(height)) => Ok(Size { width, height }),
    }
}

/// `side` × `new` ÷ `old`, rounded, and at least 1.
fn share(side: u32, new: u32, old: u32) -> u32 {
    let old = u64::from(old.max(1));
    let rounded = (u64::from(side) * u64::from(new) + old / 2) / old;
    u32::try_from(rounded).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_keep_the_ratio_unless_told_otherwise() {
        let source = Size { width: 400, height: 300 };
        for (new_x, new_y, fit, expected) in [
            (Some(200), None, Fit::Contain, (200, 150)),
            (None, Some(150), Fit::Exact, (200, 150)),
            (Some(200), Some(200), Fit::Contain, (200, 150)),
            (Some(400), Some(150), Fit::Contain, (200, 150)),
            (Some(200), Some(200), Fit::Cover, (200, 200)),
            (Some(200), Some(7), Fit::Exact, (200, 7)),
            (Some(1), None, Fit::Contain, (1, 1)),
            (Some(800), Some(800), Fit::Contain, (800, 600)),
        ] {
            let size = measure(source, new_x, new_y, fit).unwrap();
            assert_eq!((size.width, size.height), expected, "{new_x:?} {new_y:?} {fit:?}");
        }
    }

    #[test]
    fn no_size_and_a_size_of_nothing_are_refused() {
        let source = Size { width: 4, height: 3 };
        assert!(measure(source, None, None, Fit::Contain).unwrap_err().contains("give new_x, new_y or both"));
        assert!(measure(source, Some(0), None, Fit::Contain).unwrap_err().starts_with("payload.new_x"));
    }
}

//! What a WebP says of its parts, compared with what it holds. Its decoder believes what it reads, and has no limit: it makes
//! room for as many bytes as a chunk claims to have, and decodes a frame before it looks whether the size is the right one.

use super::measure::Size;

/// Bytes before the first chunk: `RIFF`, a length and `WEBP`.
const FILE_HEAD: usize = 12;
/// Bytes of a frame of an animation (`ANMF`) before its chunks: place, size, duration and flags.
const FRAME_HEAD: usize = 16;
/// The chunks that the decoder reads. Beyond the end of the file, others make no difference.
const READ: [&[u8; 4]; 7] = [b"VP8 ", b"VP8L", b"ANMF", b"ALPH", b"EXIF", b"ICCP", b"XMP "];

/// Whether all of `bytes` is as large as it says, for an image that claims the size `canvas`. The error is a sentence.
pub(super) fn check(bytes: &[u8], canvas: Size) -> Result<(), String> {
    let mut rest = bytes.get(FILE_HEAD..).unwrap_or_default();
    while let Some((kind, claimed)) = head(&mut rest) {
        let Some(held) = body(&mut rest, claimed) else {
            return if READ.contains(&&kind) { Err(cut(kind)) } else { Ok(()) };
        };
        match &kind {
            b"VP8 " => check_lossy(held, canvas)?,
            b"ANMF" => check_frame(held)?,
            _ => {}
        }
    }
    Ok(())
}

/// A frame of an animation: chunks of its own, of which the decoder reads any.
fn check_frame(frame: &[u8]) -> Result<(), String> {
    let Some((head_of_frame, mut rest)) = frame.split_first_chunk::<FRAME_HEAD>() else { return Err(cut(*b"ANMF")) };
    let side = |at: usize| {
        let [low, middle, high] = [0, 1, 2].map(|byte| head_of_frame[at + byte]);
        u32::from_le_bytes([low, middle, high, 0]) + 1
    };
    let area = Size { width: side(6), height: side(9) };
    let mut transparent = false;
    while let Some((kind, claimed)) = head(&mut rest) {
        let held = body(&mut rest, claimed).ok_or_else(|| cut(kind))?;
        // Whatever follows transparency is decoded as colours.
        if transparent && &kind != b"VP8 " {
            return Err(format!("the image cannot be read: a frame has {} where its colours belong", name(kind)));
        }
        if &kind == b"VP8 " {
            check_lossy(held, area)?;
        }
        transparent = &kind == b"ALPH";
    }
    Ok(())
}

fn check_lossy(held: &[u8], expected: Size) -> Result<(), String> {
    let Some(&[_, _, _, _, _, _, w0, w1, h0, h1]) = held.first_chunk::<10>() else { return Err(cut(*b"VP8 ")) };
    let side = |bytes: [u8; 2]| u32::from(u16::from_le_bytes(bytes) & 0x3fff);
    let (width, height) = (side([w0, w1]), side([h0, h1]));
    if (Size { width, height }) != expected {
        let Size { width: expected_width, height: expected_height } = expected;
        return Err(format!(
            "the image cannot be read: it claims {expected_width} × {expected_height} pixels, and what it holds has {width} × {height}"
        ));
    }
    Ok(())
}

/// The kind of the next chunk, and how many bytes it claims to hold.
fn head(rest: &mut &[u8]) -> Option<([u8; 4], usize)> {
    let (&[a, b, c, d, size @ ..], after) = rest.split_first_chunk::<8>()?;
    *rest = after;
    Some(([a, b, c, d], usize::try_from(u32::from_le_bytes(size)).ok()?))
}

/// These bytes, if there are as many. A chunk ends at an even one.
fn body<'a>(rest: &mut &'a [u8], claimed: usize) -> Option<&'a [u8]> {
    let (held, after) = rest.split_at_checked(claimed)?;
    *rest = after.get(claimed % 2..).unwrap_or_default();
    Some(held)
}

fn cut(kind: [u8; 4]) -> String {
    format!("the image cannot be read: its part {} is larger than the file", name(kind))
}

fn name(kind: [u8; 4]) -> String {
    kind.escape_ascii().to_string().trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CANVAS: Size = Size { width: 4, height: 3 };

    fn chunk(kind: [u8; 4], held: &[u8]) -> Vec<u8> {
        let mut chunk = kind.to_vec();
        chunk.extend(u32::try_from(held.len()).unwrap().to_le_bytes());
        chunk.extend(held);
        chunk.resize(chunk.len().next_multiple_of(2), 0);
        chunk
    }

    fn lossy(width: u16, height: u16) -> Vec<u8> {
        let [w, h] = [width.to_le_bytes(), height.to_le_bytes()];
        [&[0x10, 0, 0, 0x9d, 1, 0x2a][..], &w, &h, &[0; 5]].concat()
    }

    /// A frame of 4 × 3 pixels.
    fn frame(chunks: &[Vec<u8>]) -> Vec<u8> {
        let head = [0, 0, 0, 0, 0, 0, 3, 0, 0, 2, 0, 0, 0, 0, 0, 0];
        chunk(*b"ANMF", &[&head[..], &chunks.concat()].concat())
    }

    fn checked(chunks: &[Vec<u8>]) -> Result<(), String> {
        check(&[&b"RIFF\0\0\0\0WEBP"[..], &chunks.concat()].concat(), CANVAS)
    }

    fn claiming(mut chunk: Vec<u8>, bytes: u32) -> Vec<u8> {
        chunk[4..8].copy_from_slice(&bytes.to_le_bytes());
        chunk
    }

    #[test]
    fn what_fits_is_taken() {
        let picture = chunk(*b"VP8 ", &lossy(4, 3));
        let alpha = chunk(*b"ALPH", &[0; 13]);
        assert_eq!(checked(std::slice::from_ref(&picture)), Ok(()));
        assert_eq!(checked(&[chunk(*b"VP8X", &[0; 10]), alpha.clone(), picture.clone(), chunk(*b"EXIF", b"abc")]), Ok(()));
        assert_eq!(checked(&[frame(&[alpha, picture.clone()]), frame(&[picture])]), Ok(()));
        assert_eq!(checked(&[chunk(*b"VP8L", b"x"), claiming(chunk(*b"ODD ", b""), u32::MAX)]), Ok(()), "nobody reads it");
    }

    #[test]
    fn a_frame_of_another_size_than_claimed_is_refused_before_it_is_decoded() {
        let large = chunk(*b"VP8 ", &lossy(16_383, 16_383));
        let expected = "the image cannot be read: it claims 4 × 3 pixels, and what it holds has 16383 × 16383";
        let alpha = chunk(*b"ALPH", &[0; 13]);
        for chunks in [vec![large.clone()], vec![frame(std::slice::from_ref(&large))], vec![frame(&[alpha.clone(), large])]] {
            assert_eq!(checked(&chunks).unwrap_err(), expected);
        }
        let small = chunk(*b"VP8 ", &lossy(2, 2));
        assert!(checked(&[frame(&[alpha.clone(), small])]).is_err());
        let hidden = chunk(*b"ODD ", &lossy(16_383, 16_383));
        assert!(checked(&[frame(&[alpha, hidden])]).unwrap_err().contains("has ODD where its colours belong"));
    }

    #[test]
    fn a_part_that_claims_more_than_the_file_has_is_refused() {
        for kind in READ {
            let part = claiming(chunk(*kind, &lossy(4, 3)), 4_000_000_000);
            assert!(checked(std::slice::from_ref(&part)).unwrap_err().ends_with("is larger than the file"), "{kind:?}");
            assert!(checked(&[frame(&[part])]).unwrap_err().ends_with("is larger than the file"), "{kind:?}");
        }
        assert!(checked(&[chunk(*b"VP8 ", &[0; 9])]).is_err());
        assert!(checked(&[chunk(*b"ANMF", &[0; 15])]).is_err());
        assert_eq!(check(b"RIFF", CANVAS), Ok(()), "the decoder refuses it");
    }
}

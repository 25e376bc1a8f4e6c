//! What the fuzz target of the lanes' framing calls.

use crate::frame::Frame;

/// A stream that a host prints, with the marker wherever there is a `\xff`: its pieces are the same however it is cut.
pub fn frame(data: &[u8]) {
    const MARKER: &str = "0123456789abcdef0123456789abcdef.1";
    let Some((cut, printed)) = data.split_first() else { return };
    let mut stream = Vec::new();
    for byte in printed {
        match byte {
            0xff => stream.extend_from_slice(MARKER.as_bytes()),
            byte => stream.push(*byte),
        }
    }
    let pieces = |size: usize| {
        let mut collector = Frame::new(MARKER.to_owned()).collector();
        let mut pieces = Vec::new();
        for chunk in stream.chunks(size) {
            collector.push(chunk);
            while let Some(piece) = collector.piece() {
                pieces.push(piece);
            }
        }
        (pieces, collector.rest())
    };
    let whole = pieces(stream.len().max(1));
    assert_eq!(whole, pieces(usize::from(*cut) + 1));
    assert_eq!(whole, pieces(1));
    let kept: usize = whole.0.iter().map(|piece| piece.bytes.len()).sum();
    assert!(kept + whole.1.len() <= stream.len());
}

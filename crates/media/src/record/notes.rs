//! Notes in a recording: boxes of type `uuid` (ISO/IEC 14496-12, 11.1), which players skip.

/// User type of the boxes.
pub(crate) const NOTE_UUID: [u8; 16] = *b"\x70\x6c\x65\x6e\x61\x72\x79\xf1\x9b\x3e\x6e\x6f\x74\x65\x73\x31";
/// Maximum bytes of the notes that wait for a fragment.
pub(crate) const NOTE_LEN_MAX: usize = 1 << 20;
/// Length, type, and user type.
pub(crate) const NOTE_HEADER_LEN: usize = 24;

/// Returns a box with a note.
pub(crate) fn boxed(note: &[u8]) -> Vec<u8> {
    let len = u32::try_from(NOTE_HEADER_LEN + note.len()).unwrap_or(u32::MAX);
    [&len.to_be_bytes()[..], b"uuid", &NOTE_UUID, note].concat()
}

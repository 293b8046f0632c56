//! What each fuzz target asserts. The targets themselves only hand their bytes to these functions, so that the corpus
//! can be replayed as an ordinary test by the stable compiler.
//!
//! An input is cut into parts at the byte `0xFF`, which no UTF-8 text contains; parts that are missing are empty. An
//! input of a binary format is taken whole.

pub mod arn_match;
pub mod authorizer_answer;
pub mod exec_handover;
pub mod launcher_messages;
pub mod policy_parse_evaluate;
pub mod runtime_api;
pub mod runtime_frames;
pub mod sigv4_canonical;

/// The longest input looked at: what is to be found shows in short ones.
pub const INPUT_BYTES_MAX: usize = 16 * 1024;

/// The parts of an input.
fn parts(input: &[u8]) -> impl Iterator<Item = &[u8]> {
    let input = input.get(..INPUT_BYTES_MAX).unwrap_or(input);
    input.split(|byte| *byte == 0xFF)
}

/// The next part as text; what is no UTF-8 is replaced.
fn text<'i>(parts: &mut impl Iterator<Item = &'i [u8]>) -> String {
    String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned()
}

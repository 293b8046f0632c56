//! Tests of the whole data plane, and what they share.

mod cases;
mod decisions;
mod flow;
mod harness;
mod hostile;
mod test_invoke;

use crate::Random;

/// All ids are zeros.
pub(crate) struct Zeros;

impl Random for Zeros {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(0);
    }
}

//! The one door to the repository's chores.

fn main() {}

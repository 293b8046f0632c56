//! Verdicts in, classic BPF out.
//!
//! `seccompiler`'s own compiler asks one call after the other, which for a list as long as ours makes 1,400
//! instructions; the kernel tries each call on them when it loads them, 0.66 ms at every start of a sandbox. A search
//! tree over ranges of numbers with the same verdict has a third of them and loads in 0.09 ms.

use std::collections::BTreeMap;

use seccompiler::{BpfProgram, sock_filter};

/// Places in `struct seccomp_data`.
const NUMBER_AT: u32 = 0;
const ARCHITECTURE_AT: u32 = 4;
/// Of the first argument's low half; both architectures are little-endian.
const ARGUMENTS_AT: u32 = 16;
const ARGUMENT_BYTES: u32 = 8;

/// What is answered to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Allow,
    /// `EPERM`.
    Deny,
    /// `ENOSYS`.
    Absent,
}

impl Answer {
    fn code(self) -> u32 {
        match self {
            Answer::Allow => libc::SECCOMP_RET_ALLOW,
            Answer::Deny => libc::SECCOMP_RET_ERRNO | libc::EPERM.unsigned_abs(),
            Answer::Absent => libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs(),
        }
    }
}

/// What an argument must be. Only its low half is compared: that is all the kernel itself reads of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition {
    Is(u8, u32),
    IsNot(u8, u32),
    /// Argument, mask, value under the mask.
    Masked(u8, u32, u32),
}

/// What decides about a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Always(Answer),
    /// Allowed when all conditions of any one alternative hold, denied otherwise.
    If(Vec<Vec<Condition>>),
}

/// Compiles verdicts for calls of one architecture. A call without a verdict is denied; one beyond `known_last` is
/// absent; calls of other architectures kill the process.
///
/// # Errors
/// When the program would be longer than the kernel takes (4,096), or a jump longer than an instruction holds.
pub(super) fn compile(
    architecture: u32,
    known_last: u32,
    verdicts: &BTreeMap<u32, Verdict>,
) -> Result<BpfProgram, &'static str> {
    let mut program = vec![
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, ARCHITECTURE_AT),
        jump(libc::BPF_JEQ, architecture, 1, 0),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_KILL_PROCESS),
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, NUMBER_AT),
    ];
    program.extend(search(&ranges(known_last, verdicts))?);
    let longest = usize::try_from(libc::BPF_MAXINSNS).unwrap_or_default();
    if program.len() > longest { Err("the program is too long") } else { Ok(program) }
}

/// All numbers, as first numbers of ranges that share a verdict, in order and beginning with 0.
fn ranges(known_last: u32, verdicts: &BTreeMap<u32, Verdict>) -> Vec<(u32, Verdict)> {
    let deny = Verdict::Always(Answer::Deny);
    let known = (0..=known_last).map(|number| (number, verdicts.get(&number).unwrap_or(&deny).clone()));
    let unknown = (known_last.saturating_add(1), Verdict::Always(Answer::Absent));
    let mut ranges: Vec<(u32, Verdict)> = Vec::new();
    for (first, verdict) in known.chain([unknown]) {
        if ranges.last().is_none_or(|(_, last)| *last != verdict) {
            ranges.push((first, verdict));
        }
    }
    ranges
}

/// A balanced tree of comparisons with the number, which stays loaded until a leaf is reached.
fn search(ranges: &[(u32, Verdict)]) -> Result<BpfProgram, &'static str> {
    let (left, right) = ranges.split_at(ranges.len() / 2);
    match (left, right) {
        ([], [(_, verdict)]) => leaf(verdict),
        (_, [(middle, _), ..]) => {
            let (below, above) = (search(left)?, search(right)?);
            let mut program = match u8::try_from(below.len()) {
                Ok(over) => vec![jump(libc::BPF_JGE, *middle, over, 0)],
                // Too far for a comparison, so it jumps to a jump.
                Err(_) => {
                    let over = u32::try_from(below.len()).map_err(|_| "a jump is too long")?;
                    vec![jump(libc::BPF_JGE, *middle, 0, 1), statement(libc::BPF_JMP | libc::BPF_JA, over)]
                }
            };
            program.extend(below);
            program.extend(above);
            Ok(program)
        }
        _ => Err("there is nothing to search"),
    }
}

fn leaf(verdict: &Verdict) -> Result<BpfProgram, &'static str> {
    let alternatives = match verdict {
        Verdict::Always(answer) => return Ok(vec![answered(*answer)]),
        Verdict::If(alternatives) => alternatives,
    };
    let mut program = Vec::new();
    for conditions in alternatives {
        let lengths: usize = conditions.iter().map(|condition| condition.length()).sum();
        // Behind the conditions comes the answer, and behind that the next alternative.
        let mut left = lengths + 1;
        for condition in conditions {
            left -= condition.length();
            condition.compile(u8::try_from(left).map_err(|_| "a jump is too long")?, &mut program);
        }
        program.push(answered(Answer::Allow));
    }
    program.push(answered(Answer::Deny));
    Ok(program)
}

impl Condition {
    fn length(self) -> usize {
        match self {
            Condition::Is(..) | Condition::IsNot(..) => 2,
            Condition::Masked(..) => 3,
        }
    }

    /// Falls through when it holds, and skips `over` instructions when not.
    fn compile(self, over: u8, program: &mut BpfProgram) {
        let argument = |argument: u8| {
            let at = ARGUMENTS_AT + ARGUMENT_BYTES * u32::from(argument);
            statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, at)
        };
        match self {
            Condition::Is(which, value) => program.extend([argument(which), jump(libc::BPF_JEQ, value, 0, over)]),
            Condition::IsNot(which, value) => program.extend([argument(which), jump(libc::BPF_JEQ, value, over, 0)]),
            Condition::Masked(which, mask, value) => program.extend([
                argument(which),
                statement(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, mask),
                jump(libc::BPF_JEQ, value, 0, over),
            ]),
        }
    }
}

fn answered(answer: Answer) -> sock_filter {
    statement(libc::BPF_RET | libc::BPF_K, answer.code())
}

fn statement(code: u32, k: u32) -> sock_filter {
    sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

fn jump(comparison: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code: (libc::BPF_JMP | comparison | libc::BPF_K) as u16, jt, jf, k }
}

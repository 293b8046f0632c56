//! Which statements can bear on a request at all, found without looking at the others.
//!
//! Every pattern starts with literal text: `arn:aws:execute-api:us-east-1:111122223333:a1b2c3/Dev/GET/` before the
//! first wildcard. A value can only match patterns whose literal head it starts with. The heads are kept sorted, each
//! with a link to the longest other head that it starts with itself; the heads of one value are then the chain of links
//! that begins at the greatest head not above the value.
//!
//! Heads mostly begin alike (`arn:aws:execute-api:us-east-1:111122223333:`), so what they have in common is compared
//! once, and of what follows the first eight bytes stand as numbers in one short row: finding the place of a value among
//! a thousand heads reads a handful of cache lines and compares one or two texts.

use crate::statement::{Prepared, Statement};

/// Something to look at: one pattern of a statement, or the whole element if it is negated.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) statement: usize,
    pattern: Option<usize>,
}

#[derive(Debug, Clone)]
struct Node {
    head: Box<str>,
    /// The longest head this one starts with.
    parent: Option<usize>,
    /// In the order of the statements.
    entries: Vec<Entry>,
    /// The sum of the entries' weights.
    weight: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Action,
    Resource,
}

/// The patterns of a document by their literal heads.
#[derive(Debug, Clone)]
pub(crate) struct Index {
    by: By,
    // INVARIANT: sorted by head, no head twice, so a parent stands before its children; the empty head, if there is
    // one, is the first.
    nodes: Box<[Node]>,
    /// What all heads but the empty one start with.
    common: Box<str>,
    // INVARIANT: the `key` of what follows `common`, one for each head but the empty one, in the same order.
    keys: Box<[u64]>,
}

/// One pattern on its way into the index.
pub(crate) struct Headed {
    pub(crate) head: Box<str>,
    /// How many patterns are compared when the entry is looked at.
    pub(crate) weight: usize,
    pub(crate) entry: Entry,
}

impl Index {
    /// Builds the index over actions or over resources, whichever leaves less to look at.
    pub(crate) fn build(actions: Vec<Headed>, resources: Vec<Headed>) -> Index {
        let by_resource = nodes(resources);
        let by_action = nodes(actions);
        let (resource_squares, resource_sum) = crowding(&by_resource);
        let (action_squares, action_sum) = crowding(&by_action);
        if resource_squares.saturating_mul(action_sum) <= action_squares.saturating_mul(resource_sum) {
            Index::over(By::Resource, by_resource)
        } else {
            Index::over(By::Action, by_action)
        }
    }

    fn over(by: By, nodes: Vec<Node>) -> Index {
        let mut heads = nodes.iter().map(|node| &*node.head).skip_while(|head| head.is_empty());
        let first = heads.next().unwrap_or("");
        // In sorted order the first and the last differ the earliest.
        let common = common_head(first, heads.last().unwrap_or(first)).to_owned();
        let keys = nodes.iter().filter(|node| !node.head.is_empty());
        let keys = keys.map(|node| node.head.strip_prefix(&*common).map_or(0, key)).collect();
        Index { by, nodes: link(nodes), common: common.into(), keys }
    }

    /// The place from which the links lead over all the heads of the value: the greatest head not above it, or one that
    /// starts with every head of the value; the empty head if no other can begin the value.
    fn start(&self, value: &str) -> Option<usize> {
        let empty = self.nodes.len().saturating_sub(self.keys.len());
        let Some(rest) = value.strip_prefix(&*self.common) else { return empty.checked_sub(1) };
        let wanted = key(rest);
        let below = self.keys.partition_point(|key| *key < wanted);
        let alike = self.keys.get(below..).unwrap_or_default();
        let alike = if alike.first() == Some(&wanted) { alike.partition_point(|key| *key == wanted) } else { 0 };
        let from = empty.saturating_add(below);
        // Mostly none or one. Every other head of the value is shorter than the eight bytes the two share, so the one
        // starts with it too, even if it is above the value. A row of equal keys is parted by the whole texts.
        if alike == 1 {
            return Some(from);
        }
        let nodes = self.nodes.get(from..from.saturating_add(alike)).unwrap_or_default();
        from.saturating_add(nodes.partition_point(|node| *node.head <= *value)).checked_sub(1)
    }

    /// The entries whose head the request starts with.
    pub(crate) fn candidates<'i>(&'i self, prepared: &Prepared<'i>) -> impl Iterator<Item = &'i Entry> + use<'i> {
        let value = match self.by {
            By::Action => prepared.action,
            By::Resource => prepared.resource.text(),
        };
        let mut next = self.start(value);
        let chain = std::iter::from_fn(move || {
            let node = self.nodes.get(next?)?;
            next = node.parent;
            Some(node)
        });
        chain.filter(move |node| value.starts_with(&*node.head)).flat_map(|node| &node.entries)
    }

    /// Whether the indexed side fits by the candidate's own pattern.
    pub(crate) fn pattern_fits(&self, entry: &Entry, statement: &Statement, prepared: &Prepared<'_>) -> bool {
        match (self.by, entry.pattern) {
            (By::Action, None) => statement.has_action(prepared),
            (By::Resource, None) => statement.has_resource(prepared),
            (By::Action, Some(at)) => {
                statement.actions.patterns.get(at).is_some_and(|pattern| pattern.matches(prepared.action))
            }
            (By::Resource, Some(at)) => {
                let pattern = statement.resources.as_ref().and_then(|resources| resources.patterns.get(at));
                let context = prepared.request.context;
                pattern.is_some_and(|pattern| pattern.matches(&prepared.resource, context) == Some(true))
            }
        }
    }

    /// Whether the other side of the statement fits, which is the same for all its entries.
    pub(crate) fn other_side_fits(&self, statement: &Statement, prepared: &Prepared<'_>) -> bool {
        match self.by {
            By::Action => statement.has_resource(prepared),
            By::Resource => statement.has_action(prepared),
        }
    }
}

impl Entry {
    pub(crate) fn pattern(statement: usize, pattern: usize) -> Entry {
        Entry { statement, pattern: Some(pattern) }
    }

    pub(crate) fn whole(statement: usize) -> Entry {
        Entry { statement, pattern: None }
    }
}

/// The first eight bytes as a number that orders as they do; what is missing counts as zero, so that texts of equal
/// keys are still to be compared.
fn key(text: &str) -> u64 {
    match text.as_bytes().first_chunk() {
        Some(bytes) => u64::from_be_bytes(*bytes),
        None => {
            let mut bytes = [0; 8];
            bytes.iter_mut().zip(text.as_bytes()).for_each(|(to, from)| *to = *from);
            u64::from_be_bytes(bytes)
        }
    }
}

/// What two texts both start with.
fn common_head<'t>(a: &'t str, b: &str) -> &'t str {
    let shared =
        a.char_indices().zip(b.chars()).find(|((_, a), b)| a != b).map_or(a.len().min(b.len()), |((at, _), _)| at);
    a.get(..shared).unwrap_or("")
}

fn nodes(mut headed: Vec<Headed>) -> Vec<Node> {
    // A stable sort keeps the order of statements under each head.
    headed.sort_by(|a, b| a.head.cmp(&b.head));
    let mut nodes: Vec<Node> = Vec::new();
    for Headed { head, weight, entry } in headed {
        match nodes.last_mut() {
            Some(node) if node.head == head => {
                node.entries.push(entry);
                node.weight = node.weight.saturating_add(weight);
            }
            _ => nodes.push(Node { head, parent: None, entries: vec![entry], weight }),
        }
    }
    nodes
}

/// The sum of the squared weights and of the weights: their quotient is the weight a request meets if it falls under
/// the heads in proportion to what stands there.
fn crowding(nodes: &[Node]) -> (u128, u128) {
    let weights = || nodes.iter().filter_map(|node| u128::try_from(node.weight).ok());
    let squares = weights().map(|weight| weight.saturating_mul(weight)).fold(0, u128::saturating_add);
    (squares, weights().fold(0, u128::saturating_add))
}

fn link(mut nodes: Vec<Node>) -> Box<[Node]> {
    let mut chain: Vec<usize> = Vec::new();
    let parents: Vec<Option<usize>> = nodes
        .iter()
        .enumerate()
        .map(|(at, node)| {
            while let Some(above) = chain.last().and_then(|above| nodes.get(*above)) {
                if node.head.starts_with(&*above.head) {
                    break;
                }
                chain.pop();
            }
            let parent = chain.last().copied();
            chain.push(at);
            parent
        })
        .collect();
    for (node, parent) in nodes.iter_mut().zip(parents) {
        node.parent = parent;
    }
    nodes.into_boxed_slice()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn index(heads: &[String]) -> Index {
        let headed = |(at, head): (usize, &String)| Headed {
            head: head.as_str().into(),
            weight: 1,
            entry: Entry::pattern(at, 0),
        };
        Index::over(By::Resource, nodes(heads.iter().enumerate().map(headed).collect()))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3000))]

        #[test]
        fn every_head_of_a_value_is_found_and_no_other(
            heads in prop::collection::vec("(|arn:aws:s:|arn:é:)[ab\u{0}é]{0,12}", 1..12), value in "(|arn:aws:s:|arn:é:)[ab\u{0}é]{0,14}",
        ) {
            let index = index(&heads);
            let mut next = index.start(&value);
            let mut found = Vec::new();
            while let Some(node) = next.and_then(|at| index.nodes.get(at)) {
                if value.starts_with(&*node.head) {
                    found.extend(node.entries.iter().map(|entry| entry.statement));
                }
                next = node.parent;
            }
            found.sort_unstable();
            let expected: Vec<usize> = (0..heads.len()).filter(|at| value.starts_with(&heads[*at])).collect();
            prop_assert_eq!(found, expected);
        }
    }
}

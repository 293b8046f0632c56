use super::*;

/// Lanes over messages kept in memory, as the queue keeps them in the store.
struct World {
    lanes: Lanes,
    waiting: BTreeMap<Lane, BTreeSet<(i64, u64)>>,
    held: Vec<(Lane, u64)>,
    sequence: u64,
    now_ms: i64,
    limit: usize,
}

fn lane(account: &str, name: &str) -> Lane {
    Lane { account: account.into(), region: "us-east-1".into(), name: name.into() }
}

impl World {
    fn new(slots: usize) -> Self {
        Self {
            lanes: Lanes::new(slots),
            waiting: BTreeMap::new(),
            held: Vec::new(),
            sequence: 0,
            now_ms: 0,
            limit: usize::MAX,
        }
    }

    fn arrive(&mut self, lane: &Lane, count: usize, due_ms: i64) {
        for _ in 0..count {
            self.sequence += 1;
            self.waiting.entry(lane.clone()).or_default().insert((due_ms, self.sequence));
            self.lanes.arrived(lane, due_ms);
        }
    }

    /// Begins whatever may begin; `racing` arrives between a plan and its read.
    fn take(&mut self, racing: Option<(&Lane, i64)>) -> Vec<(Lane, u64)> {
        let mut begun = Vec::new();
        let mut racing = racing;
        loop {
            let plan = self.lanes.plan(self.now_ms, |_| Some(self.limit));
            if plan.is_empty() {
                return begun;
            }
            for grant in plan {
                let known = self.waiting.get(&grant.lane).cloned().unwrap_or_default();
                if let Some((lane, due_ms)) = racing.take() {
                    self.arrive(lane, 1, due_ms);
                }
                let mut sequences = Vec::new();
                let mut next = None;
                for (due_ms, sequence) in known.iter().filter(|(_, sequence)| !grant.held.contains(sequence)) {
                    if *due_ms > self.now_ms || sequences.len() >= grant.count {
                        next = Some(*due_ms);
                        break;
                    }
                    sequences.push(*sequence);
                }
                self.lanes.began(&grant, &sequences, next);
                let own: Vec<_> = sequences.into_iter().map(|sequence| (grant.lane.clone(), sequence)).collect();
                assert!(own.iter().all(|message| !self.held.contains(message)), "begun twice");
                self.held.extend(own.iter().cloned());
                begun.extend(own);
                assert!(self.lanes.held <= self.lanes.slots);
            }
        }
    }

    /// The work on a held message is over.
    fn end(&mut self, at: usize, again_ms: Option<i64>) {
        let (lane, sequence) = self.held.remove(at);
        let messages = self.waiting.get_mut(&lane).unwrap();
        messages.retain(|(_, other)| *other != sequence);
        if let Some(due_ms) = again_ms {
            messages.insert((due_ms, sequence));
        }
        self.lanes.ended(&lane, sequence, again_ms);
    }

    fn left(&self) -> usize {
        self.waiting.values().map(BTreeSet::len).sum()
    }
}

fn of<'a>(begun: &'a [(Lane, u64)], account: &'a str) -> usize {
    begun.iter().filter(|(lane, _)| lane.account == account).count()
}

#[test]
fn one_flood_leaves_half_of_the_slots_to_others() {
    let mut world = World::new(48);
    for name in ["a", "b", "c"] {
        world.arrive(&lane("1", name), 1000, 0);
    }
    let flood = world.take(None).len();
    assert!((20..=24).contains(&flood), "{flood}");
    // Nothing of the flood has ended, and another account's event begins at once.
    world.arrive(&lane("2", "x"), 1, 0);
    assert_eq!(of(&world.take(None), "2"), 1);
    world.arrive(&lane("3", "y"), 1000, 0);
    assert!(world.take(None).len() >= 8);
    world.arrive(&lane("4", "z"), 1, 0);
    assert_eq!(of(&world.take(None), "4"), 1);
}

#[test]
fn one_function_leaves_room_to_its_neighbours() {
    let mut world = World::new(48);
    world.arrive(&lane("1", "greedy"), 1000, 0);
    let greedy = world.take(None).len();
    assert!(greedy <= 16, "{greedy}");
    world.arrive(&lane("1", "small"), 1, 0);
    assert_eq!(world.take(None), [(lane("1", "small"), 1001)]);
}

#[test]
fn turns_go_round() {
    let mut world = World::new(4);
    for account in ["1", "2"] {
        for name in ["a", "b"] {
            world.arrive(&lane(account, name), 50, 0);
        }
    }
    let mut served: BTreeMap<Lane, usize> = BTreeMap::new();
    for _ in 0..100 {
        for (lane, _) in world.take(None) {
            *served.entry(lane).or_default() += 1;
        }
        world.end(0, None);
    }
    assert!(served.len() == 4 && served.values().all(|count| (20..=32).contains(count)), "{served:?}");
}

#[test]
fn a_functions_limit_is_kept() {
    let mut world = World::new(48);
    world.limit = 2;
    world.arrive(&lane("1", "f"), 10, 0);
    assert_eq!(world.take(None).len(), 2);
    assert_eq!(world.take(None).len(), 0);
    world.end(0, None);
    assert_eq!(world.take(None).len(), 1);
}

#[test]
fn what_is_due_later_waits_and_a_pause_holds_back() {
    let mut world = World::new(48);
    world.arrive(&lane("1", "f"), 1, 500);
    assert_eq!(world.take(None), []);
    assert_eq!(world.lanes.next_ms(0), Some(500));
    world.lanes.pause(&lane("1", "f"), 800);
    assert_eq!(world.lanes.next_ms(0), Some(800));
    world.now_ms = 799;
    assert_eq!(world.take(None), []);
    world.now_ms = 800;
    assert_eq!(world.take(None).len(), 1);
    assert_eq!(world.lanes.next_ms(800), None);
}

#[test]
fn an_arrival_between_plan_and_read_is_not_forgotten() {
    let mut world = World::new(48);
    let f = lane("1", "f");
    world.arrive(&f, 1, 0);
    assert_eq!(world.take(Some((&f, 0))).len(), 2);
    while !world.held.is_empty() {
        world.end(0, None);
    }
    assert_eq!((world.left(), world.lanes.accounts.len()), (0, 0), "nothing is kept of lanes that are empty");
}

/// 500 schedules of arrivals, ends, retries and passing time: everything is served, nothing twice, and what is held is
/// counted.
#[test]
fn every_message_is_served_whatever_the_order() {
    use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
    for seed in 0..500 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut world = World::new(rng.random_range(1..9));
        world.limit = rng.random_range(1..5);
        let mut ended = 0;
        for step in 0..200 {
            let lane = lane(&rng.random_range(0..3).to_string(), &rng.random_range(0..3).to_string());
            match rng.random_range(0..5) {
                0 | 1 if step < 100 => {
                    world.arrive(&lane, rng.random_range(1..4), world.now_ms + rng.random_range(0..30))
                }
                2 => world.now_ms += rng.random_range(0..20),
                3 => world.lanes.pause(&lane, world.now_ms + 5),
                _ if !world.held.is_empty() => {
                    let at = rng.random_range(0..world.held.len());
                    let again = (rng.random_range(0..4) == 0).then(|| world.now_ms + 7);
                    ended += usize::from(again.is_none());
                    world.end(at, again);
                }
                _ => {}
            }
            let racing = (rng.random_range(0..4) == 0 && step < 100).then_some((&lane, world.now_ms));
            world.take(racing);
            let held: usize = world.lanes.accounts.values().map(|account| account.held).sum();
            assert_eq!((held, world.lanes.held), (world.held.len(), world.held.len()), "seed {seed}");
        }
        for _ in 0..10_000 {
            while !world.held.is_empty() {
                world.end(0, None);
                ended += 1;
                world.take(None);
            }
            let Some(next_ms) = world.lanes.next_ms(world.now_ms) else { break };
            world.now_ms = next_ms;
            world.take(None);
        }
        assert_eq!((world.left(), ended), (0, usize::try_from(world.sequence).unwrap()), "seed {seed}");
        assert!(world.lanes.accounts.is_empty(), "seed {seed}");
    }
}

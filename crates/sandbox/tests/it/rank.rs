//! Who goes before whom.

use std::{
    fs,
    path::{Path, PathBuf},
};

use sandbox::Request;

use crate::{
    Test,
    leaks::{groups_of, pid_of},
    world::{World, request},
};

pub const TESTS: &[Test] =
    &[("a_sandbox_that_went_last_has_its_weight_again", a_sandbox_that_went_last_has_its_weight_again)];

/// What the group says of the processor, in whichever version.
fn share(group: &Path) -> Option<(String, String)> {
    let read = |file: &str| fs::read_to_string(group.join(file)).ok().map(|text| text.trim().to_owned());
    Some((read("cpu.idle")?, read("cpu.shares").or_else(|| read("cpu.weight"))?))
}

fn a_sandbox_that_went_last_has_its_weight_again(world: &World) {
    let request = Request { cpu_weight: 7, ..request() };
    let sandbox = world.launcher.launch(&request, &world.inside("sleep")).unwrap();
    // Before Linux 5.15 nobody can be put last, nor where no group controls processor time.
    if let Some(rank) = &sandbox.rank {
        // Nobody else has this weight, in either version's terms; groups have numbers of their own.
        let is_it = |group: &PathBuf| share(group).is_some_and(|(_, weight)| ["71", "7"].contains(&weight.as_str()));
        let found: Vec<PathBuf> = groups_of(pid_of(&world.launcher))
            .iter()
            .filter_map(|group| fs::read_dir(group.join("functions")).ok())
            .flatten()
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .filter(is_it)
            .collect();
        let [group] = &found[..] else { panic!("{found:?}") };
        let usual = share(group).unwrap();
        rank.put_last().unwrap();
        assert_eq!(share(group).unwrap().0, "1");
        rank.put_back(7).unwrap();
        assert_eq!(share(group).unwrap(), usual);
    }
    world.launcher.reap(sandbox.id).unwrap();
}

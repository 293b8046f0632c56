//! Who goes before whom.

use std::{fs, path::Path};

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
        let name = sandbox.id.to_string();
        let groups = groups_of(pid_of(&world.launcher));
        let found: Vec<_> = groups
            .iter()
            .map(|group| group.join("functions").join(&name))
            .filter(|group| share(group).is_some())
            .collect();
        let [group] = &found[..] else { panic!("{found:?}") };
        let usual = share(group).unwrap();
        assert!(["71", "7"].contains(&usual.1.as_str()), "{usual:?}");
        rank.put_last().unwrap();
        assert_eq!(share(group).unwrap().0, "1");
        rank.put_back(7).unwrap();
        assert_eq!(share(group).unwrap(), usual);
    }
    world.launcher.reap(sandbox.id).unwrap();
}

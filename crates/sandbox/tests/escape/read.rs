//! What is not a function's to read.

use std::fs;

use rustix::io::Errno;

use crate::{
    Line,
    call::{call, given, listed, nothing, room, text, told},
    denied,
    world::SECRET,
};

const GONE: &[Errno] = &[Errno::NOENT, Errno::ACCESS, Errno::PERM];
const FORBIDDEN: &[Errno] = &[Errno::PERM];

pub const LINES: &[Line] = &[
    denied("the_store", GONE, || told(given("STORE"))),
    denied("the_store_by_way_of_process_1", GONE, || told(format!("/proc/1/root{}", given("STORE")))),
    denied("the_store_by_way_of_the_own_root", GONE, || told(format!("/proc/self/root{}{}", "/../..", given("STORE")))),
    denied("the_store_by_way_of_the_working_directory", GONE, || {
        let up = "../".repeat(40);
        told(format!("{up}{}", given("STORE")))
    }),
    denied("the_store_by_way_of_descriptors", GONE, || {
        // A directory of the host that somebody left open would lead out.
        let mut found = Err(nothing());
        for number in 0..1_024 {
            let path = format!("/proc/self/fd/{number}/../../../../../../../..{}", given("STORE"));
            found = found.or_else(|_| told(path));
        }
        found
    }),
    denied("another_function_s_code", GONE, || told(format!("{}/code-a/index.js", given("DIRECTORY")))),
    denied("another_function_s_tmp", GONE, || told(format!("{}/secret", given("NEIGHBOUR_TMP")))),
    denied("another_function_s_environment", GONE, || searched("environ")),
    denied("another_function_s_command_line", GONE, || searched("cmdline")),
    denied("another_function_s_tmp_by_way_of_its_process", GONE, || {
        let mut found = Err(nothing());
        for entry in fs::read_dir("/proc")?.flatten() {
            let path = entry.path().join("root/tmp/secret");
            found = found.or_else(|_| told(path));
        }
        found
    }),
    denied("process_1_s_environment", GONE, || told("/proc/1/environ")),
    denied("process_1_s_memory", GONE, || told("/proc/1/mem")),
    denied("process_1_s_program", GONE, || fs::read_link("/proc/1/exe").map(|path| format!("{path:?}"))),
    denied("process_1_s_descriptors", GONE, || listed("/proc/1/fd")),
    denied("root_s_home", GONE, || listed("/root")),
    denied("homes", GONE, || listed("/home")),
    denied("run", GONE, || listed("/run")),
    denied("shadow", GONE, || told("/etc/shadow")),
    denied("host_keys", GONE, || listed("/etc/ssh")),
    denied("private_keys_of_tls", GONE, || listed("/etc/ssl/private")),
    denied("name_servers", GONE, || told("/etc/resolv.conf")),
    denied("machine_id", GONE, || told("/etc/machine-id")),
    denied("var_log", GONE, || listed("/var/log")),
    denied("physical_memory", GONE, || told("/dev/mem")),
    denied("kernel_memory", GONE, || told("/proc/kcore")),
    denied("kernel_log_file", GONE, || told("/dev/kmsg")),
    denied("kernel_log_of_proc", GONE, || told("/proc/kmsg")),
    denied("kernel_log", FORBIDDEN, || call(libc::SYS_syslog, &[3, room(4_096), 4_096])),
    denied("key_ring_of_proc", GONE, || told("/proc/keys")),
    denied("key_ring", FORBIDDEN, || call(libc::SYS_keyctl, &[0, (-3_isize) as usize, 0])),
    denied("key_request", FORBIDDEN, || call(libc::SYS_request_key, &[text("user"), text("k"), 0, 0])),
    denied("key_to_add", FORBIDDEN, || {
        call(libc::SYS_add_key, &[text("user"), text("k"), text("v"), 1, (-3_isize) as usize])
    }),
    denied("block_devices", GONE, || listed("/dev/disk").or_else(|_| told("/dev/vda")).or_else(|_| told("/dev/sda"))),
    denied("kernel_addresses", GONE, || {
        // The file may be there; addresses that are all zero tell nothing.
        let text = fs::read_to_string("/proc/kallsyms")?;
        let told = text.lines().take(1_000).find(|line| !line.starts_with("0000000000000000"));
        told.map(str::to_owned).ok_or_else(nothing)
    }),
];

/// Looks for the neighbour's secret in a file of every process there is.
fn searched(file: &str) -> std::io::Result<String> {
    for entry in fs::read_dir("/proc")?.flatten() {
        let text = fs::read(entry.path().join(file)).unwrap_or_default();
        if text.windows(SECRET.len()).any(|window| window == SECRET.as_bytes()) {
            return Ok(format!("{:?}", entry.path()));
        }
    }
    Err(nothing())
}

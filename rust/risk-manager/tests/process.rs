//! The service alone, as a process.

#[path = "../../common/tests/process/mod.rs"]
mod process;

const SERVICE: process::Service = process::Service {
    program: env!("CARGO_BIN_EXE_risk-manager"),
    component: "risk-manager",
    port: "risk",
};

#[test]
fn it_serves_health_and_ends_soon_after_a_signal() {
    SERVICE.serves_health_and_ends_soon_after_a_signal();
}

#[test]
fn a_taken_port_is_one_line_with_port_and_setting() {
    SERVICE.names_a_taken_port_and_its_setting();
}

#[test]
fn a_port_for_all_the_world_needs_keys() {
    SERVICE.wants_keys_before_it_listens_to_all_the_world();
}

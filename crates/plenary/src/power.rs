//! Detection of battery power.

use std::path::Path;

/// Whether this machine runs on mains power. False only if it has a battery and no power supply is plugged
/// in. Reads sysfs on Linux; elsewhere true is assumed.
pub(crate) fn on_mains() -> bool {
    supplies(Path::new("/sys/class/power_supply"))
}

fn supplies(folder: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else { return true };
    let (mut battery, mut plugged) = (false, false);
    for entry in entries.flatten() {
        let read = |name: &str| std::fs::read_to_string(entry.path().join(name)).unwrap_or_default();
        match read("type").trim() {
            "Battery" => battery |= read("scope").trim() != "Device", // not the battery of a mouse
            "Mains" | "USB" => plugged |= read("online").trim() == "1",
            _ => {}
        }
    }
    plugged || !battery
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_on_battery_only_with_a_battery_and_nothing_plugged_in() {
        type Device = (&'static str, &'static str, &'static str);
        let rows: [(&[Device], bool); 5] = [
            (&[], true),
            (&[("BAT0", "Battery", "")], false),
            (&[("BAT0", "Battery", ""), ("AC", "Mains", "0")], false),
            (&[("BAT0", "Battery", ""), ("AC", "Mains", "1")], true),
            (&[("AC", "Mains", "0")], true),
        ];
        for (row, (devices, expected)) in rows.into_iter().enumerate() {
            let folder = tempfile::tempdir().unwrap();
            for (name, kind, online) in devices {
                let device = folder.path().join(name);
                std::fs::create_dir(&device).unwrap();
                std::fs::write(device.join("type"), format!("{kind}\n")).unwrap();
                std::fs::write(device.join("online"), format!("{online}\n")).unwrap();
            }
            assert_eq!(supplies(folder.path()), expected, "row {row}");
        }
        assert!(supplies(Path::new("/nowhere")));
    }
}

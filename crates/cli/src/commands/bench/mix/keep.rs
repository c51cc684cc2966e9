//! Files of a run, to measure other software on the same input: `in-00.h264` and so on, one stream for each
//! speaker; `program.h264`, this mixer's output; `ideal.yuv`, the lossless program as raw I420; and
//! `plan.json`.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use anyhow::Context as _;
use plenary_media::codec::EncodedPicture;
use plenary_media::{Frame, Picture};
use serde::Serialize;

use crate::args::MixBenchArgs;

#[derive(Serialize)]
struct Plan {
    inputs: u8,
    width: u16,
    height: u16,
    fps: u8,
    bitrate_bps: u32,
}

/// Open files of a run.
pub(super) struct Kept {
    speakers: Vec<BufWriter<File>>,
    program: BufWriter<File>,
    ideal: BufWriter<File>,
}

impl Kept {
    pub(super) fn create(folder: &Path, args: &MixBenchArgs) -> anyhow::Result<Kept> {
        let plan = Plan {
            inputs: args.inputs,
            width: args.program.width,
            height: args.program.height,
            fps: args.program.fps,
            bitrate_bps: args.bitrate,
        };
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let file = |name: String| {
            let path = folder.join(name);
            File::create(&path)
                .map(BufWriter::new)
                .with_context(|| format!("cannot write {}", path.display()))
        };
        serde_json::to_writer_pretty(file("plan.json".to_owned())?, &plan)?;
        let speakers = (0..args.inputs).map(|index| file(format!("in-{index:02}.h264")));
        Ok(Kept {
            speakers: speakers.collect::<anyhow::Result<_>>()?,
            program: file("program.h264".to_owned())?,
            ideal: file("ideal.yuv".to_owned())?,
        })
    }

    /// Adds one program picture, and the speakers' frames it was made from.
    pub(super) fn add(
        &mut self,
        frames: &[(usize, Frame)],
        picture: &EncodedPicture,
        ideal: &Picture,
    ) -> anyhow::Result<()> {
        for (index, frame) in frames {
            self.speakers[*index].write_all(&frame.data)?;
        }
        self.program.write_all(&picture.data)?;
        self.ideal.write_all(ideal.samples()).context("cannot write the ideal picture")
    }

    /// Flushes all files.
    pub(super) fn finish(mut self) -> anyhow::Result<()> {
        self.speakers
            .iter_mut()
            .chain([&mut self.program, &mut self.ideal])
            .try_for_each(|file| file.flush())?;
        Ok(())
    }
}

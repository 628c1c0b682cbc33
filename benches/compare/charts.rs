//! Charts, as SVG: rate and p99 against the number of busy clients, memory against the number of idle ones.

use std::error::Error;
use std::path::Path;

use plotters::prelude::*;

use crate::peers::Peer;
use crate::report::Report;
use crate::work::{Figure, Scale, Work};

const SHOWN: [(Peer, RGBColor); 5] = [
    (Peer::Acceptd, RGBColor(200, 30, 30)),
    (Peer::Textbook, RGBColor(120, 120, 120)),
    (Peer::Tokio1K, RGBColor(30, 90, 200)),
    (Peer::Tokio64K, RGBColor(120, 170, 240)),
    (Peer::Mio, RGBColor(30, 150, 80)),
];

/// Draws what there are figures for.
pub fn draw(report: &Report, scale: Scale, folder: &Path) -> Result<(), Box<dyn Error + Send + Sync>> {
    let busy: Vec<Work> =
        scale.works().into_iter().filter(|work| matches!(work, Work::RequestResponse { size: 64, .. })).collect();
    let idle: Vec<Work> = scale.works().into_iter().filter(|work| matches!(work, Work::Idle { .. })).collect();
    let charts = [
        ("rate.svg", "requests of 64 B a second, by busy clients", &busy, Figure::Rate, 1.0),
        ("p99.svg", "p99 in microseconds, by busy clients", &busy, Figure::P99, 1.0),
        ("memory.svg", "resident MiB, by idle clients", &idle, Figure::Resident, 1.0 / (1 << 20) as f64),
    ];
    for (file, title, works, figure, unit) in charts {
        let lines: Vec<Line> = SHOWN
            .into_iter()
            .map(|(peer, color)| {
                let point = |work: &Work| {
                    let clients = clients_of(*work) as f64;
                    let all = if figure == Figure::Resident { clients } else { 1.0 };
                    report.median(*work, peer, figure).map(|median| (clients, median * all * unit))
                };
                (peer, color, works.iter().filter_map(point).collect())
            })
            .collect();
        if lines.iter().any(|(_, _, points)| points.len() > 1) {
            draw_lines(&folder.join(file), title, &lines)?;
        }
    }
    Ok(())
}

fn clients_of(work: Work) -> usize {
    match work {
        Work::RequestResponse { clients, .. } | Work::Idle { clients } => clients,
        _ => 0,
    }
}

/// A peer, its colour, and its points.
type Line = (Peer, RGBColor, Vec<(f64, f64)>);

fn draw_lines(path: &Path, title: &str, lines: &[Line]) -> Result<(), Box<dyn Error + Send + Sync>> {
    let points = || lines.iter().flat_map(|(_, _, points)| points.iter().copied());
    let lowest_x = points().map(|(x, _)| x).fold(f64::INFINITY, f64::min);
    let highest_x = points().map(|(x, _)| x).fold(1.0, f64::max);
    let highest_y = points().map(|(_, y)| y).fold(0.0, f64::max);
    let area = SVGBackend::new(path, (720, 400)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(30)
        .y_label_area_size(70)
        .build_cartesian_2d((lowest_x..highest_x).log_scale(), 0.0..highest_y * 1.1)?;
    chart.configure_mesh().light_line_style(WHITE).draw()?;
    for (peer, color, points) in lines.iter().filter(|(_, _, points)| !points.is_empty()) {
        let style = color.stroke_width(2);
        let series = LineSeries::new(points.iter().copied(), style).point_size(3);
        chart
            .draw_series(series)?
            .label(peer.name())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], style));
    }
    chart.configure_series_labels().background_style(WHITE).border_style(BLACK).draw()?;
    area.present()?;
    Ok(())
}

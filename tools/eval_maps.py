"""Scores folders of saliency maps: `python tools/eval_maps.py --pred [NAME=]DIR ... --gt [NAME=]DIR ... [--json]`."""

from __future__ import annotations

from contextlib import nullcontext

from samsod.evaluation.maps.options import parse
from samsod.utils.errors import run_main


def main() -> None:
    """Scores every method on every data set and prints the table, or JSON."""
    args = parse()
    from samsod.evaluation.maps import results as maps
    from samsod.evaluation.maps.groups import (
        drawn_units,
        find_groups,
        find_videos,
        group_scores,
        per_video,
        video_scores,
    )
    from samsod.evaluation.maps.naming import named_files
    from samsod.evaluation.maps.paired import check_pair, paired_differences, paired_table
    from samsod.evaluation.maps.scoring import find_maps, score_maps
    from samsod.evaluation.metrics.choice import chosen_columns, chosen_metrics
    from samsod.evaluation.tables.reported import named_rows
    from samsod.utils.files import locked

    metrics = [name for name in chosen_metrics(args.metrics, "--metrics") if not (args.no_weighted_f and name == "wF")]
    columns = chosen_columns(args.columns, metrics) if args.columns else None
    outputs = maps.Outputs(args.output, args.xlsx, args.per_image, args.latex_colours)
    methods, truths = named_files("--pred", args.pred), named_files("--gt", args.gt)
    reported = named_rows(args.reported, list(truths))
    if args.paired:
        check_pair(list(methods), args.paired)
    map_sets = find_maps(methods, truths, maps.name_folders("--images", args.images))
    groups, frames = find_groups(args.group, map_sets), find_videos(map_sets, args.video)
    outputs.check()
    with locked(args.output) if args.output else nullcontext():
        cache = None if args.no_cache else maps.open_cache(args.cache)
        scores = score_maps(map_sets, args.threads, cache, metrics)
        videos = video_scores(scores, frames)
        results = maps.summarise(scores, per_video(videos), group_scores(scores, groups))
        table = maps.compare(results, args.digits, reported, columns)
        pair = []
        if args.paired:
            drawn = drawn_units(scores, videos)
            pair = paired_differences(drawn, args.paired, args.resamples, together=not videos)
        outputs.write(scores, results, table, pair, args.paired)
    print(maps.as_json(results) if args.json else table.text(), end="" if args.json else "\n")
    if pair and not args.json:
        print(f"\n{paired_table(pair, args.paired, columns, args.digits)}")


if __name__ == "__main__":
    run_main(main)

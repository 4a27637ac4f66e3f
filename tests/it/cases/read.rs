//! Input that is cut or odd.

cases! {
    csv_file_without_a_final_newline,
    jsonl_cut_with_skip,
}

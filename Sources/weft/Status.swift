internal import API
internal import ArgumentParser
internal import Client
internal import JSON
internal import NIOHTTP1
internal import Server
internal import Transport

struct Status: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show every member of the fabric: role, term, applied index, size, lag, clock, version.",
        discussion: """
            CLOCK says by how much a member's clock is ahead of the leader's. Exits with 4 when a member does not answer.

            Examples:
              weft status
              weft status --endpoints http://10.0.0.1:2379 -o json
            """)

    @OptionGroup var flags: ClientFlags

    private struct Row {
        var member: FabricMembers.Member
        var status: JSONValue?
        var version: String?
        var trouble: String?
        /// It answers, and tells this caller nothing.
        var isReserved = false
        /// What it warns of.
        var warnings: [String] = []
        var domain = ""
        /// By how much its clock is ahead of the leader's.
        var skewMilliseconds: Int64?
        /// As the leader sees it.
        var roundTripMicroseconds: Int64?

        var applied: UInt64 { status?["raftAppliedIndex"]?.unsigned ?? 0 }
    }

    func run() async throws {
        let rows = try await flags.ask { client in
            let client = try await client.knownElsewhere()
            let listed = try await client.call("/v3/cluster/member/list") { _ in }
            let fabric = FabricMembers(listed)
            var (rows, clocks) = ([Row](), MemberClocks())
            for member in fabric.members { rows.append(await row(member, client.at(member, of: fabric), &clocks)) }
            let leader = rows.first { $0.status?["leader"]?.unsigned == $0.member.id }
            for place in rows.indices {
                let member = rows[place].member
                rows[place].skewMilliseconds = clocks.skew(of: member.id, from: leader?.member.id)
                let warning = clocks.warning(about: member.name, member.id, from: leader?.member.id)
                rows[place].warnings += [warning].compactMap(\.self)
            }
            await addPlaces(to: &rows, leader.flatMap { client.at($0.member, of: fabric) })
            return rows
        }
        let newest = rows.compactMap { $0.status?["raftIndex"]?.unsigned }.max() ?? 0
        if flags.output == .json {
            printRows(rows, newest)
        } else {
            printTable(rows, newest)
            var told: [String] = []
            for warning in rows.flatMap(\.warnings) where !told.contains(warning) {
                print("WARNING: \(warning)")
                told.append(warning)
            }
        }
        let silent = rows.filter { $0.status == nil && !$0.isReserved }
        guard silent.isEmpty else {
            let reasons = silent.map {
                "\($0.member.name.isEmpty ? hex($0.member.id) : $0.member.name): \($0.trouble ?? "")"
            }
            throw Problem(.unavailable, reasons.joined(separator: "\nweft: "))
        }
    }

    /// - Parameter own: asks this member.
    private func row(
        _ member: FabricMembers.Member, _ own: FabricClient?, _ clocks: inout MemberClocks
    ) async -> Row {
        var row = Row(member: member)
        guard let own else {
            row.trouble = "not started yet"
            return row
        }
        do {
            row.version = try await clocks.release(of: member.id, own)
            row.status = try await own.call("/v3/maintenance/status")
            let status = try? await own.send(.GET, "/v1/fabric/status?serializable")
            row.warnings = (status?["warnings"]?.items ?? []).compactMap(\.text)
        } catch let refusal as FabricClient.Refusal where refusal.isAboutCaller {
            row.isReserved = true
        } catch {
            row.trouble = "\(error)"
        }
        return row
    }

    /// Where the members are, and how far from the leader; nobody else knows.
    private func addPlaces(to rows: inout [Row], _ leader: FabricClient?) async {
        guard let places = try? await leader?.send(.GET, "/v1/fabric/status?serializable") else { return }
        for place in places["members"]?.items ?? [] {
            guard let found = rows.firstIndex(where: { hex($0.member.id) == place["id"]?.text }) else { continue }
            rows[found].domain = place["domain"]?.text ?? ""
            rows[found].roundTripMicroseconds = place["roundTripMicroseconds"]?.integer
        }
    }

    private func roundTrip(_ row: Row) -> String {
        guard let microseconds = row.roundTripMicroseconds, microseconds > 0 else { return "-" }
        return "\(microseconds / 1000).\(microseconds % 1000 / 100) ms"
    }

    private func role(_ row: Row) -> String {
        guard let status = row.status else { return row.isReserved ? "answers" : "unreachable" }
        if status["leader"]?.unsigned == row.member.id { return "leader" }
        return row.member.isLearner ? "learner" : "follower"
    }

    private func printTable(_ rows: [Row], _ newest: UInt64) {
        var table = Table([
            "NAME", "ID", "ROLE", "DOMAIN", "TERM", "APPLIED", "LAG", "ROUND TRIP", "CLOCK", "SIZE", "VERSION",
            "CLIENT URLS",
        ])
        for row in rows {
            let has = row.status != nil
            table.add([
                row.member.name.isEmpty ? "(not started)" : row.member.name, hex(row.member.id), role(row),
                row.domain.isEmpty ? "-" : row.domain, row.status?["raftTerm"]?.text ?? "-",
                has ? String(row.applied) : "-",
                has ? String(newest - min(newest, row.applied)) : "-", roundTrip(row),
                row.skewMilliseconds.map(MemberClocks.text) ?? "-",
                has ? size(row.status?["dbSize"]?.integer ?? 0) : "-", row.version ?? "-",
                row.member.clientURLs.joined(separator: ","),
            ])
        }
        table.print()
    }

    private func size(_ bytes: Int64) -> String {
        let units = ["B", "kB", "MB", "GB", "TB"]
        var value = Double(bytes)
        var unit = 0
        while value >= 1000, unit < units.count - 1 {
            value /= 1000
            unit += 1
        }
        let tenths = Int((value * 10).rounded())
        return unit == 0 ? "\(bytes) B" : "\(tenths / 10).\(tenths % 10) \(units[unit])"
    }

    private func printRows(_ rows: [Row], _ newest: UInt64) {
        printJSON(
            .array(
                rows.map { row in
                    var fields = [
                        JSONValue.Field("name", .string(row.member.name)),
                        JSONValue.Field("id", .string(hex(row.member.id))),
                        JSONValue.Field("role", .string(role(row))),
                        JSONValue.Field("clientURLs", .array(row.member.clientURLs.map(JSONValue.string))),
                    ]
                    if let status = row.status {
                        fields.append(JSONValue.Field("lag", .number(String(newest - min(newest, row.applied)))))
                        fields.append(JSONValue.Field("version", .string(row.version ?? "")))
                        fields.append(JSONValue.Field("status", status))
                        if let skew = row.skewMilliseconds {
                            fields.append(JSONValue.Field("clockSkewMilliseconds", .number(String(skew))))
                        }
                        fields.append(JSONValue.Field("warnings", .array(row.warnings.map(JSONValue.string))))
                    } else if let trouble = row.trouble {
                        fields.append(JSONValue.Field("error", .string(trouble)))
                    }
                    return .object(fields)
                }))
    }
}
